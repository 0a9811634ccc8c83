"""Count and delete the rows that have expired by the retention rules."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy
from psycopg import errors

from devices.models import Device
from telemetry.models import DayRollup, HourRollup, RetentionRule, Telemetry
from telemetry.retention import partitions, purge
from telemetry.retention import rules as retention
from telemetry.retention.partitions import Partition
from telemetry.retention.purge import DeletedCounts
from telemetry.retention.rules import Cutoffs, RuleSet

MAX_COUNTED_ROWS = 100_000
"""With more rows, the planner's estimate is used instead of a count."""
COUNT_TIMEOUT = "500ms"
"""Counting may need to read very many rows, even if few of them have expired."""
KINDS = [
    (Telemetry, "recorded_at", "readings"),
    (HourRollup, "bucket", "hourly values"),
    (DayRollup, "bucket", "daily values"),
]
"""The tables that retention applies to, in the order of Cutoffs: model, time column, name."""
EXPIRED_ROWS_TEXT = {
    "readings": ngettext_lazy(
        "%(rows)s reading before %(day)s would be deleted",
        "%(rows)s readings before %(day)s would be deleted",
        "count",
    ),
    "hourly values": ngettext_lazy(
        "%(rows)s hourly value before %(day)s would be deleted",
        "%(rows)s hourly values before %(day)s would be deleted",
        "count",
    ),
    "daily values": ngettext_lazy(
        "%(rows)s daily value before %(day)s would be deleted",
        "%(rows)s daily values before %(day)s would be deleted",
        "count",
    ),
}
"""Message per kind of rows; `count` selects the plural form, `rows` is the formatted number."""


class ExpiredRows(NamedTuple):
    """The rows of one kind that one rule deletes."""

    rule: RetentionRule
    kind: str
    before: datetime
    rows: int
    exact: bool

    def __str__(self) -> str:
        rows = _grouped(self.rows) if self.exact else format_estimate(self.rows)
        day = date_format(self.before, "DATE_FORMAT")
        return str(EXPIRED_ROWS_TEXT[self.kind] % {"count": self.rows, "rows": rows, "day": day})


class Preview(NamedTuple):
    """The rows and partitions that would be deleted if the rules were applied now."""

    parts: list[ExpiredRows]
    partitions: list[Partition]
    """Partitions in which no device keeps any readings; they are dropped as a whole."""


def preview(now: datetime) -> Preview:
    """Return what would be deleted, by rule and kind."""
    rules = RuleSet.read()
    parts = []
    for rule in rules:
        for (model, time, kind), before in zip(KINDS, Cutoffs.from_rule(rule, now), strict=True):
            if before:
                devices = rules.devices_for(rule)
                expired = model._default_manager.filter(
                    device__in=devices, **{f"{time}__lt": before}
                )
                parts.append(ExpiredRows(rule, kind, before, *_count(expired)))
    return Preview(parts, _partitions_before(rules.global_cutoff(now)))


def apply(
    now: datetime, *, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[DeletedCounts]:
    """Delete expired rows; yield after each partition and each batch.

    Readings that are not rolled up yet are kept. Once `should_stop` returns True, no further device
    is processed; the next call deletes the rest.
    """
    by_device = _cutoffs(now)
    due = {device_id: cutoffs for device_id, cutoffs in by_device.items() if any(cutoffs)}
    retention.advance_watermarks(due)
    yield from _drop_partitions(
        retention.earliest_cutoff(cutoffs.raw for cutoffs in by_device.values()), now
    )
    for device_id, cutoffs in due.items():
        if should_stop():
            return
        if cutoffs.raw:
            yield from purge.delete_readings(device_id, before=cutoffs.raw)
        if cutoffs.hour:
            yield from purge.delete_rollups("telemetry_hours", device_id, before=cutoffs.hour)
        if cutoffs.day:
            yield from purge.delete_rollups("telemetry_days", device_id, before=cutoffs.day)


def format_estimate(rows: int) -> str:
    """Format a number as an estimate: about 12.4 M, about 350,000."""
    if rows >= 1_000_000:
        millions = number_format(round(rows / 1_000_000, 1), 1, force_grouping=True)
        return _("about %(count)s M") % {"count": millions}
    return _("about %(count)s") % {"count": _grouped(round(rows, 2 - len(str(rows))))}


def _grouped(rows: int) -> str:
    return str(number_format(rows, force_grouping=True))


def _cutoffs(now: datetime) -> dict[UUID, Cutoffs]:
    """Return the cutoffs of every active device, limited to the hours that are rolled up."""
    rules = RuleSet.read()
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM telemetry_rolled_until")
        (rollup_watermark,) = cursor.fetchone()
        cursor.execute("SELECT device_id, min(hour) FROM telemetry_dirty GROUP BY device_id")
        queued = dict(cursor.fetchall())
    active = Device.objects.filter(deleted_at=None).order_by("pk")
    return {
        device_id: rules.cutoffs(device_id, device_type, now).capped_at(
            min(rollup_watermark, queued.get(device_id, rollup_watermark))
        )
        for device_id, device_type in active.values_list("pk", "device_type")
    }


def _drop_partitions(before: datetime | None, now: datetime) -> Iterator[DeletedCounts]:
    for partition in _partitions_before(before):

        def confirm(end: datetime = partition.end) -> bool:
            # A device or a rule that keeps more may have been added since.
            limit = RuleSet.read().global_cutoff(now)
            return limit is not None and end <= limit

        rows, _ = _count(
            Telemetry.objects.filter(
                recorded_at__gte=partition.start, recorded_at__lt=partition.end
            )
        )
        if partitions.drop(partition, confirm=confirm):
            yield DeletedCounts("telemetry", rows)


def _partitions_before(limit: datetime | None) -> list[Partition]:
    """Return the partitions that end at or before `limit`."""
    if limit is None:
        return []
    return [partition for partition in partitions.list_months() if partition.end <= limit]


def _count(rows: QuerySet[Any]) -> tuple[int, bool]:
    """Return the number of rows and whether it is exact."""
    expected = int(json.loads(rows.explain(format="json"))[0]["Plan"]["Plan Rows"])
    if expected > MAX_COUNTED_ROWS:
        return expected, False
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [COUNT_TIMEOUT])
            counted = rows[: MAX_COUNTED_ROWS + 1].count()
            # The rollback resets the timeout, also inside an outer transaction.
            transaction.set_rollback(True)
    except OperationalError as error:
        if not isinstance(error.__cause__, errors.QueryCanceled):
            raise
        return expected, False
    return max(
        expected, counted
    ) if counted > MAX_COUNTED_ROWS else counted, counted <= MAX_COUNTED_ROWS
