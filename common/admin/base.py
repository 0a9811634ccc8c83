"""Base classes of the admin's lists and forms."""

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

from common.admin.widgets import is_valid_value

M = TypeVar("M", bound=Model)

LOOKUPS = ("", "__exact", "__isnull")
"""Suffixes that Django's own filters append to the name of a field."""


class TitledChangeList(ChangeList):
    """A list whose title is the name of its rows, and that rejects unknown query parameters."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_popup:
            self.title = str(capfirst(self.opts.verbose_name_plural))

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        filters, _has_filters, unread, *_rest = found
        assert isinstance(self.model_admin, BaseModelAdmin)  # noqa: S101 - for mypy
        if unread.keys() - set(self.model_admin.extra_lookups) or not all(
            map(_is_offered, filters)
        ):
            raise IncorrectLookupParameters
        return found

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            # Without a filter the total equals the result, and the page does not display it.
            self.full_result_count = self.result_count


class BaseModelAdmin(admin.ModelAdmin[M]):
    """Allows only the lookups that the filters of the list offer.

    Django admin allows arbitrary field lookups in the query string, which leaks any column (token
    hashes too) one comparison at a time. With an unknown lookup the list shows all rows and a
    message.
    """

    extra_lookups: tuple[str, ...] = ()
    """Further fields that links from other pages filter by."""
    show_full_result_count = False
    # Facets count the rows of the table once for each choice of each filter.
    show_facets = admin.ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TitledChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        offered = self.get_list_filter(request) if request else self.list_filter
        return lookup in self.extra_lookups or any(
            lookup in _allowed_lookups(list_filter) for list_filter in offered
        )

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        try:
            return super().get_changelist_instance(request)
        except (DisallowedModelAdminLookup, DisallowedModelAdminToField) as error:
            raise IncorrectLookupParameters from error

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if ERROR_FLAG in request.GET:
            # Django would respond to a second wrong parameter with a database error.
            params = request.GET.copy()
            del params[ERROR_FLAG]
            request.GET = params  # type: ignore[assignment]
            if not params:
                message = gettext("The URL has an unknown filter or value. All rows are shown.")
                messages.warning(request, message)
        return super().changelist_view(request, extra_context)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        # Django would compare invalid ids with the primary key, which is an error.
        data = request.POST.copy()
        ids = [pk for pk in data.getlist(ACTION_CHECKBOX_NAME) if is_valid_value(self.opts.pk, pk)]
        data.setlist(ACTION_CHECKBOX_NAME, ids)
        request.POST = data  # type: ignore[assignment]
        return super().response_action(request, queryset, *args, **kwargs)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> M | None:
        # Django would look up a field with an empty name.
        return super().get_object(request, object_id, from_field or None)


def _is_offered(list_filter: Any) -> bool:
    """Return whether the requested values are choices of the field, if it has choices.

    The column may be an enum, which PostgreSQL cannot compare with other values.
    """
    if not isinstance(list_filter, ChoicesFieldListFilter):
        return True
    choices = {str(value) for value, _label in list_filter.field.flatchoices}
    return choices.issuperset(list_filter.lookup_val or ())


def _allowed_lookups(list_filter: Any) -> tuple[str, ...]:
    if isinstance(list_filter, type) and issubclass(list_filter, SimpleListFilter):
        return (str(list_filter.parameter_name),)
    field = list_filter[0] if isinstance(list_filter, tuple) else list_filter
    return tuple(f"{field}{lookup}" for lookup in LOOKUPS)
