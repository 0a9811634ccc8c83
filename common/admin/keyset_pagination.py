"""Lists of any length in the admin: a page is found by the key of the row it begins behind.

Nothing is counted and nothing is skipped over, so the millionth row is as near as the first. How
many there are is told as PostgreSQL estimates it.
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

ESTIMATE = """
    SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
    WHERE oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s)) WHERE isleaf
        UNION SELECT to_regclass(%s)::oid)
"""
OLDER, NEWER = "older", "newer"


def estimated_count(model: type[Model]) -> int:
    """About how many rows a table has, partitioned or not, as the last ANALYZE left it."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(ESTIMATE, [table, table])
        return int(cursor.fetchone()[0])


class KeysetChangeList(TitledChangeList):
    """A page of rows, newest first, and the way to those before and after."""

    older = newer = ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return [OrderBy(F(name), descending=True) for name in self.key]

    def get_results(self, request: HttpRequest) -> None:
        turn, place = _decode_cursor(self.key, self.model, request.GET.get(PAGE_VAR, ""))
        rows: QuerySet[Any] = self.queryset
        if place:
            rows = rows.filter(_after(self.key, place, turn))
        found = list((rows.reverse() if turn == NEWER else rows)[: self.list_per_page + 1])
        more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        if turn == NEWER:
            found.reverse()
        if found:
            if place if turn == OLDER else more:
                self.newer = self._address(NEWER, found[0])
            if more if turn == OLDER else place:
                self.older = self._address(OLDER, found[-1])
        self.result_list = found
        self.result_count = self.full_result_count = len(found)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = None
        plain = not self.query and not self.has_active_filters
        self.estimate = estimated_count(self.model) if plain else None

    @property
    def key(self) -> Sequence[str]:
        """The fields that order the list, newest first; together they are unique."""
        assert isinstance(self.model_admin, KeysetAdmin)  # noqa: S101 - whose list this is
        return self.model_admin.key

    def _address(self, turn: str, row: Model) -> str:
        values = [str(getattr(row, name)) for name in self.key]
        text = base64.urlsafe_b64encode(json.dumps([turn, *values]).encode()).decode()
        return self.get_query_string({PAGE_VAR: text})


class KeysetAdmin(BaseModelAdmin[M]):
    """For tables that grow without end. An index has to lead with `key`."""

    key: Sequence[str] = ("created_at", "id")
    sortable_by = ()
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList


def _after(key: Sequence[str], place: Sequence[Any], turn: str) -> Q:
    """The rows on one side of a place. The first bound alone is what an index can be entered by."""
    side = "lt" if turn == OLDER else "gt"
    (first, *rest), (value, *values) = key, place
    if not rest:
        return Q(**{f"{first}__{side}": value})
    there = Q(**{f"{first}__{side}": value}) | _after(rest, values, turn)
    return Q(**{f"{first}__{side}e": value}) & there


def _decode_cursor(key: Sequence[str], model: type[Model], text: str) -> tuple[str, list[Any]]:
    """The turn and the place that a page begins at; the first page for what is none."""
    try:
        turn, *values = json.loads(base64.urlsafe_b64decode(text))
        if turn in (OLDER, NEWER) and all(isinstance(value, str) for value in values):
            fields: list[Any] = [model._meta.get_field(name) for name in key]
            pairs = zip(fields, values, strict=True)
            return turn, [field.to_python(value) for field, value in pairs]
    except (ValueError, TypeError, RecursionError, binascii.Error, ValidationError):
        pass
    return OLDER, []
