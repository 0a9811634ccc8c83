"""What every table in the admin has in common."""

from typing import Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin import ChoicesFieldListFilter, SimpleListFilter
from django.contrib.admin.exceptions import (
    DisallowedModelAdminLookup,
    DisallowedModelAdminToField,
)
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext

from common.admin.widgets import can_hold

M = TypeVar("M", bound=Model)

LOOKUPS = ("", "__exact", "__isnull")
"""What the framework's own filters append to the name of a field."""


class TitledChangeList(ChangeList):
    """A list that is called what it lists, and takes only the parameters that its filters read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_popup:
            self.title = str(capfirst(self.opts.verbose_name_plural))

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        filters, _has_filters, unread, *_rest = found
        assert isinstance(self.model_admin, BaseModelAdmin)  # noqa: S101 - whose list this is
        if unread.keys() - set(self.model_admin.linked_by) or not all(map(_is_offered, filters)):
            raise IncorrectLookupParameters
        return found

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            # That all are shown need not be said.
            self.full_result_count = self.result_count


class BaseModelAdmin(admin.ModelAdmin[M]):
    """Filters by what its list offers and by nothing else.

    The framework would let an address compare any column of the table, and what can be compared
    can be read, a bit at a time: hashes, too. A list whose address asks for anything else is shown
    whole, with a message that says so.
    """

    linked_by: tuple[str, ...] = ()
    """Fields that links from other pages select by, beside the filters."""
    show_full_result_count = False
    # How many rows each choice of each filter would show is a count of the table for each.
    show_facets = admin.ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TitledChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        offered = self.get_list_filter(request) if request else self.list_filter
        return lookup in self.linked_by or any(lookup in _allowed_lookups(one) for one in offered)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        try:
            return super().get_changelist_instance(request)
        except (DisallowedModelAdminLookup, DisallowedModelAdminToField) as error:
            raise IncorrectLookupParameters from error

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if ERROR_FLAG in request.GET:
            # Else the framework would blame the database for a second wrong parameter.
            asked = request.GET.copy()
            del asked[ERROR_FLAG]
            request.GET = asked  # type: ignore[assignment]
            if not asked:
                words = gettext("The address had an unknown filter or value. All rows are shown.")
                messages.warning(request, words)
        return super().changelist_view(request, extra_context)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        # The framework would compare what cannot be an id with the ids.
        sent = request.POST.copy()
        ids = sent.getlist(ACTION_CHECKBOX_NAME)
        sent.setlist(ACTION_CHECKBOX_NAME, [one for one in ids if can_hold(self.opts.pk, one)])
        request.POST = sent  # type: ignore[assignment]
        return super().response_action(request, queryset, *args, **kwargs)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> M | None:
        # The framework would look for a field without a name.
        return super().get_object(request, object_id, from_field or None)


def _is_offered(list_filter: Any) -> bool:
    """Whether the values asked for are choices, where the choices are all that there can be. The
    column may be an enum, which cannot be compared with anything else.
    """
    if not isinstance(list_filter, ChoicesFieldListFilter):
        return True
    choices = {str(value) for value, _words in list_filter.field.flatchoices}
    return choices.issuperset(list_filter.lookup_val or ())


def _allowed_lookups(list_filter: Any) -> tuple[str, ...]:
    if isinstance(list_filter, type) and issubclass(list_filter, SimpleListFilter):
        return (str(list_filter.parameter_name),)
    field = list_filter[0] if isinstance(list_filter, tuple) else list_filter
    return tuple(f"{field}{lookup}" for lookup in LOOKUPS)
