"""What every table in the admin has in common."""

from typing import Any, TypeVar

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import Model
from django.http import HttpRequest

M = TypeVar("M", bound=Model)

LOOKUPS = ("", "__exact", "__id__exact", "__isnull")
"""What the framework's own filters append to the name of a field."""


class GuardedAdmin(admin.ModelAdmin[M]):
    """Filters by what its list offers and by nothing else.

    The framework would let an address compare any column of the table, and what can be compared
    can be read, a bit at a time: hashes, too.
    """

    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        offered = self.get_list_filter(request) if request else self.list_filter
        return any(lookup in _parameters(one) for one in offered)


def _parameters(list_filter: Any) -> tuple[str, ...]:
    if isinstance(list_filter, type) and issubclass(list_filter, SimpleListFilter):
        return (str(list_filter.parameter_name),)
    field = list_filter[0] if isinstance(list_filter, tuple) else list_filter
    return tuple(f"{field}{lookup}" for lookup in LOOKUPS)
