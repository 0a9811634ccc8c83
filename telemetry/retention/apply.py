"""What is over its age by the rules of retention: how much that is, and how it goes."""

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

COUNTED = 100_000
"""Rows up to which they are counted; of more there is the planner's estimate."""
COUNTING = "500ms"
"""How long; where few rows are to go among very many, all have to be looked at."""
KINDS = [
    (Telemetry, "recorded_at", "readings"),
    (HourRollup, "bucket", "hourly values"),
    (DayRollup, "bucket", "daily values"),
]
"""What is kept for an age of its own, in the order of Cutoffs; the time of each, and its name."""
WOULD_GO = {
    "readings": ngettext_lazy(
        "%(rows)s reading before %(day)s would go",
        "%(rows)s readings before %(day)s would go",
        "count",
    ),
    "hourly values": ngettext_lazy(
        "%(rows)s hourly value before %(day)s would go",
        "%(rows)s hourly values before %(day)s would go",
        "count",
    ),
    "daily values": ngettext_lazy(
        "%(rows)s daily value before %(day)s would go",
        "%(rows)s daily values before %(day)s would go",
        "count",
    ),
}
"""What is said of some of a kind; `count` chooses the form, `rows` is the number as it is shown."""


class ExpiredRows(NamedTuple):
    """What one rule removes of one kind."""

    rule: RetentionRule
    kind: str
    before: datetime
    rows: int
    exact: bool

    def __str__(self) -> str:
        rows = _whole(self.rows) if self.exact else format_estimate(self.rows)
        day = date_format(self.before, "DATE_FORMAT")
        return str(WOULD_GO[self.kind] % {"count": self.rows, "rows": rows, "day": day})


class Preview(NamedTuple):
    """What would go if the rules were applied now."""

    parts: list[ExpiredRows]
    partitions: list[Partition]
    """Those of which no device keeps anything, to be dropped as they are."""


def preview(now: datetime) -> Preview:
    """What would go, by rule and kind."""
    rules = RuleSet.read()
    parts = []
    for rule in rules:
        for (model, time, kind), before in zip(KINDS, Cutoffs.of(rule, now), strict=True):
            if before:
                devices = rules.devices_of(rule)
                going = model._default_manager.filter(device__in=devices, **{f"{time}__lt": before})
                parts.append(ExpiredRows(rule, kind, before, *_count(going)))
    return Preview(parts, _partitions_before(rules.nothing_kept_before(now)))


def apply(
    now: datetime, *, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[DeletedCounts]:
    """Remove what is over its age, halting after each partition and each batch of rows.

    What is not rolled up yet is kept until it is. Once `should_stop` is true, no further device is
    looked at; the next call removes the rest.
    """
    kept = _cutoffs(now)
    due = {device_id: cutoffs for device_id, cutoffs in kept.items() if any(cutoffs)}
    retention.advance_watermarks(due)
    yield from _drop_partitions(
        retention.earliest_cutoff(cutoffs.raw for cutoffs in kept.values()), now
    )
    for device_id, cutoffs in due.items():
        if should_stop():
            return
        if cutoffs.raw:
            yield from purge.readings(device_id, before=cutoffs.raw)
        if cutoffs.hour:
            yield from purge.rollups("telemetry_hours", device_id, before=cutoffs.hour)
        if cutoffs.day:
            yield from purge.rollups("telemetry_days", device_id, before=cutoffs.day)


def format_estimate(rows: int) -> str:
    """A number as one says it: about 12.4 M, about 350,000."""
    if rows >= 1_000_000:
        millions = number_format(round(rows / 1_000_000, 1), 1, force_grouping=True)
        return _("about %(count)s M") % {"count": millions}
    return _("about %(count)s") % {"count": _whole(round(rows, 2 - len(str(rows))))}


def _whole(rows: int) -> str:
    return str(number_format(rows, force_grouping=True))


def _cutoffs(now: datetime) -> dict[UUID, Cutoffs]:
    """Of every living device, what may go of it: what the rules say and is rolled up."""
    rules = RuleSet.read()
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM telemetry_rolled_until")
        (rolled_until,) = cursor.fetchone()
        cursor.execute("SELECT device_id, min(hour) FROM telemetry_dirty GROUP BY device_id")
        dirty = dict(cursor.fetchall())
    living = Device.objects.filter(deleted_at=None).order_by("pk")
    return {
        device_id: rules.cutoffs(device_id, device_type, now).no_later_than(
            min(rolled_until, dirty.get(device_id, rolled_until))
        )
        for device_id, device_type in living.values_list("pk", "device_type")
    }


def _drop_partitions(before: datetime | None, now: datetime) -> Iterator[DeletedCounts]:
    for partition in _partitions_before(before):

        def agreed(end: datetime = partition.end) -> bool:
            # A device, or a rule that keeps more, may have come since.
            limit = RuleSet.read().nothing_kept_before(now)
            return limit is not None and end <= limit

        rows, _ = _count(
            Telemetry.objects.filter(
                recorded_at__gte=partition.start, recorded_at__lt=partition.end
            )
        )
        if partitions.drop(partition, agreed=agreed):
            yield DeletedCounts("telemetry", rows)


def _partitions_before(limit: datetime | None) -> list[Partition]:
    """The partitions that are over by then."""
    if limit is None:
        return []
    return [partition for partition in partitions.list_months() if partition.end <= limit]


def _count(rows: QuerySet[Any]) -> tuple[int, bool]:
    """How many rows there are, and whether that is exact."""
    expected = int(json.loads(rows.explain(format="json"))[0]["Plan"]["Plan Rows"])
    if expected > COUNTED:
        return expected, False
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [COUNTING])
            counted = rows[: COUNTED + 1].count()
            # So that the timeout ends with the block, even within another transaction.
            transaction.set_rollback(True)
    except OperationalError as error:
        if not isinstance(error.__cause__, errors.QueryCanceled):
            raise
        return expected, False
    return max(expected, counted) if counted > COUNTED else counted, counted <= COUNTED
