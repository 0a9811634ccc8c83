"""What every table in the admin has in common."""

from typing import Any, TypeVar

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model
from django.http import HttpRequest
from django.utils.text import capfirst

from accounts.models import User

M = TypeVar("M", bound=Model)

LOOKUPS = ("", "__exact", "__id__exact", "__isnull")
"""What the framework's own filters append to the name of a field."""


class TitledChangeList(ChangeList):
    """A list that is called what it lists."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_popup:
            self.title = str(capfirst(self.opts.verbose_name_plural))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            # That all are shown need not be said.
            self.full_result_count = self.result_count


class GuardedAdmin(admin.ModelAdmin[M]):
    """Filters by what its list offers and by nothing else.

    The framework would let an address compare any column of the table, and what can be compared
    can be read, a bit at a time: hashes, too.
    """

    show_full_result_count = False
    # How many rows each choice of each filter would show is a count of the table for each.
    show_facets = admin.ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TitledChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        offered = self.get_list_filter(request) if request else self.list_filter
        return any(lookup in _parameters(one) for one in offered)


def staff_of(request: HttpRequest) -> User:
    """Who is signed in to the admin."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin lets nobody else in
    return request.user


def _parameters(list_filter: Any) -> tuple[str, ...]:
    if isinstance(list_filter, type) and issubclass(list_filter, SimpleListFilter):
        return (str(list_filter.parameter_name),)
    field = list_filter[0] if isinstance(list_filter, tuple) else list_filter
    return tuple(f"{field}{lookup}" for lookup in LOOKUPS)
