"""Choose which tables (readings, hours, days) cover a time range. No database access."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from telemetry.queries import buckets
from telemetry.rollups.build import ALL_AVAILABLE, DAY, HOUR, AvailableFrom, floor

Span = tuple[datetime, datetime]
"""Start (included) and end (excluded)."""


@dataclass(slots=True)
class SourcePlan:
    """The spans to read from each table; they do not overlap and leave no gap."""

    raw: list[Span] = field(default_factory=list)
    hours: list[Span] = field(default_factory=list)
    days: list[Span] = field(default_factory=list)
    split_hours: list[datetime] = field(default_factory=list)
    """Hours in `hours` that a bucket boundary divides; they are read from the readings instead."""

    @property
    def source(self) -> str:
        """Return the coarsest table in the plan."""
        return "day" if self.days else "hour" if self.hours else "raw"


def plan_sources(
    start: datetime,
    end: datetime,
    bounds: Sequence[datetime],
    *,
    step: int,
    rollup_watermark: datetime,
    available_from: AvailableFrom = ALL_AVAILABLE,
) -> SourcePlan:
    """Return the coarsest tables that give exact values for these buckets.

    Where retention has deleted the finer rows, an hour (or day) cannot be divided. It then counts
    fully for the range, and for the bucket, that contains its middle.
    """
    hours = _whole(start, end, HOUR, rollup_watermark, available_from.raw)
    if step < buckets.HOUR or not hours:
        return SourcePlan(raw=[(start, end)])
    first, last = hours
    hours_from = _next(available_from.hours, DAY) if start < available_from.hours else first
    raw_from = _next(available_from.raw, HOUR) if start < available_from.raw else start
    if start < available_from.hours:
        raw_from = max(raw_from, hours_from)
    inner = bounds[1:-1]
    split = _split_hours(inner, max(first, raw_from), last)
    if len(split) * HOUR == last - first:
        return SourcePlan(raw=[(start, end)])
    plan = SourcePlan(
        raw=_spans((raw_from, first), (max(last, raw_from), end)),
        hours=_spans((max(first, hours_from), last)),
        split_hours=split,
    )
    days = _whole(start, end, DAY, floor(rollup_watermark, DAY), available_from.hours)
    if days and any(bound != floor(bound, DAY) for bound in inner):
        # The buckets are not UTC days. Days are used only where the hours are deleted.
        days = next(iter(_spans((days[0], min(days[1], hours_from)))), None)
    if days:
        plan.days = [days]
        plan.hours = _spans((max(first, hours_from), days[0]), (max(days[1], hours_from), last))
    return plan


def _split_hours(bounds: Sequence[datetime], start: datetime, end: datetime) -> list[datetime]:
    """Return the hours of a span that a bucket boundary divides."""
    return [
        hour for bound in bounds if (hour := floor(bound, HOUR)) != bound and start <= hour < end
    ]


def _whole(
    start: datetime,
    end: datetime,
    unit: timedelta,
    rollup_watermark: datetime,
    deleted_until: datetime,
) -> Span | None:
    """Return the span of the hours or days that are used as a whole, or None."""
    first, last = _next(start, unit), floor(end, unit)
    if start < deleted_until:
        first = _next(start - unit / 2, unit)
        if end < _next(deleted_until, unit):
            last = _next(end - unit / 2, unit)
    last = min(last, rollup_watermark)
    return (first, last) if first < last else None


def _next(time: datetime, unit: timedelta) -> datetime:
    """Return the first start of an hour or day at or after an instant."""
    return floor(time + unit - timedelta.resolution, unit)


def _spans(*spans: Span) -> list[Span]:
    return [(start, end) for start, end in spans if start < end]
