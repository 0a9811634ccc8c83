"""Keyset pagination of admin lists: a page starts after the key of the previous page's last row.

No page needs a count or an OFFSET, so that all pages take the same time. The number of rows is
PostgreSQL's estimate.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import F, Model, OrderBy, Q, QuerySet
from django.http import HttpRequest

from common.admin.base import BaseModelAdmin, M, TitledChangeList

ROW_ESTIMATE_SQL = """
    SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
    WHERE oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s)) WHERE isleaf
        UNION SELECT to_regclass(%s)::oid)
"""
OLDER, NEWER = "older", "newer"


def estimated_count(model: type[Model]) -> int:
    """Return the estimated number of rows of a table, partitioned or not, from the last ANALYZE."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(ROW_ESTIMATE_SQL, [table, table])
        return int(cursor.fetchone()[0])


class KeysetChangeList(TitledChangeList):
    """A page of rows, newest first, with links to the pages before and after."""

    older = newer = ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return [OrderBy(F(name), descending=True) for name in self.ordering_key]

    def get_results(self, request: HttpRequest) -> None:
        direction, position = _decode_cursor(
            self.ordering_key, self.model, request.GET.get(PAGE_VAR, "")
        )
        rows: QuerySet[Any] = self.queryset
        if position:
            rows = rows.filter(_after(self.ordering_key, position, direction))
        found = list((rows.reverse() if direction == NEWER else rows)[: self.list_per_page + 1])
        more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        if direction == NEWER:
            found.reverse()
        if found:
            if position if direction == OLDER else more:
                self.newer = self._page_url(NEWER, found[0])
            if more if direction == OLDER else position:
                self.older = self._page_url(OLDER, found[-1])
        self.result_list = found
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = None
        plain = not self.query and not self.has_active_filters
        self.estimate = estimated_count(self.model) if plain else None

    @property
    def ordering_key(self) -> Sequence[str]:
        """The fields that order the list, newest first. Their combination is unique."""
        assert isinstance(self.model_admin, KeysetAdmin)  # noqa: S101 - for mypy
        return self.model_admin.ordering_key

    def _page_url(self, direction: str, row: Model) -> str:
        values = [str(getattr(row, name)) for name in self.ordering_key]
        text = base64.urlsafe_b64encode(json.dumps([direction, *values]).encode()).decode()
        return self.get_query_string({PAGE_VAR: text})


class KeysetAdmin(BaseModelAdmin[M]):
    """An admin for tables that grow without limit. An index must start with `ordering_key`."""

    ordering_key: Sequence[str] = ("created_at", "id")
    sortable_by = ()
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList


def _after(ordering_key: Sequence[str], position: Sequence[Any], direction: str) -> Q:
    """Return the condition for the rows on one side of a position.

    The bound of the first field is a condition of its own, so that PostgreSQL can use the index.
    """
    side = "lt" if direction == OLDER else "gt"
    (first, *rest), (value, *values) = ordering_key, position
    if not rest:
        return Q(**{f"{first}__{side}": value})
    inside = Q(**{f"{first}__{side}": value}) | _after(rest, values, direction)
    return Q(**{f"{first}__{side}e": value}) & inside


def _decode_cursor(
    ordering_key: Sequence[str], model: type[Model], text: str
) -> tuple[str, list[Any]]:
    """Return the direction and the position of a cursor, or of the first page if it is invalid."""
    try:
        direction, *values = json.loads(base64.urlsafe_b64decode(text))
        if direction in (OLDER, NEWER) and all(isinstance(value, str) for value in values):
            fields: list[Any] = [model._meta.get_field(name) for name in ordering_key]
            pairs = zip(fields, values, strict=True)
            return direction, [field.to_python(value) for field, value in pairs]
    except (ValueError, TypeError, RecursionError, binascii.Error, ValidationError):
        pass
    return OLDER, []
