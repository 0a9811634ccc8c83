"""How a range of time is laid out with raw readings, hours and days. No database here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from telemetry.queries import buckets
from telemetry.rollups.build import ALL_AVAILABLE, DAY, HOUR, AvailableFrom, floor

Span = tuple[datetime, datetime]
"""From an instant to before another."""


@dataclass(slots=True)
class SourcePlan:
    """What to read from which table: without overlap, without hole."""

    raw: list[Span] = field(default_factory=list)
    hours: list[Span] = field(default_factory=list)
    days: list[Span] = field(default_factory=list)
    torn: list[datetime] = field(default_factory=list)
    """Hours in `hours` that a boundary of buckets goes through: to be read raw instead."""

    @property
    def source(self) -> str:
        """The coarsest table."""
        return "day" if self.days else "hour" if self.hours else "raw"


def plan_sources(
    start: datetime,
    end: datetime,
    bounds: Sequence[datetime],
    *,
    step: int,
    rolled_until: datetime,
    kept: AvailableFrom = ALL_AVAILABLE,
) -> SourcePlan:
    """Lay out a range that is wanted in these buckets with the coarsest tables that are exact.

    Where those are gone that would be, what is left cannot be divided: such an hour (or day) is
    in the range, and in the bucket, that its middle is in.
    """
    hours = _whole(start, end, HOUR, rolled_until, kept.raw)
    if step < buckets.HOUR or not hours:
        return SourcePlan(raw=[(start, end)])
    first, last = hours
    hours_from = _next(kept.hours, DAY) if start < kept.hours else first
    raw_from = _next(kept.raw, HOUR) if start < kept.raw else start
    if start < kept.hours:
        raw_from = max(raw_from, hours_from)
    inner = bounds[1:-1]
    torn = [
        hour
        for bound in inner
        if (hour := floor(bound, HOUR)) != bound and max(first, raw_from) <= hour < last
    ]
    if len(torn) * HOUR == last - first:
        return SourcePlan(raw=[(start, end)])
    tiles = SourcePlan(
        raw=_spans((raw_from, first), (max(last, raw_from), end)),
        hours=_spans((max(first, hours_from), last)),
        torn=torn,
    )
    days = _whole(start, end, DAY, floor(rolled_until, DAY), kept.hours)
    if days and any(bound != floor(bound, DAY) for bound in inner):
        # Not days of UTC: they are of use only where there is nothing finer any more.
        days = next(iter(_spans((days[0], min(days[1], hours_from)))), None)
    if days:
        tiles.days = [days]
        tiles.hours = _spans((max(first, hours_from), days[0]), (max(days[1], hours_from), last))
    return tiles


def _whole(
    start: datetime, end: datetime, unit: timedelta, rolled_until: datetime, gone_until: datetime
) -> Span | None:
    """The span of the hours or days that are to be counted whole, if there is any."""
    first, last = _next(start, unit), floor(end, unit)
    if start < gone_until:
        first = _next(start - unit / 2, unit)
        if end < _next(gone_until, unit):
            last = _next(end - unit / 2, unit)
    last = min(last, rolled_until)
    return (first, last) if first < last else None


def _next(time: datetime, unit: timedelta) -> datetime:
    """The first beginning of an hour or day from an instant on."""
    return floor(time + unit - timedelta.resolution, unit)


def _spans(*spans: Span) -> list[Span]:
    return [(start, end) for start, end in spans if start < end]
