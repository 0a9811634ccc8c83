"""The buckets of a chart: how long they are, and where they begin. No database here."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import count

POINTS_LIMIT = 2000
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
STEPS = [
    *(1, 2, 5, 10, 15, 30),
    *(MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 7, 14, 28)),
]
"""Lengths of a bucket in seconds that people can read off an axis."""
MONDAY = datetime(2000, 1, 3)  # noqa: DTZ001 - what a clock shows, in any zone
"""Buckets of several days are counted from it, so that weeks begin on Mondays."""


def allowed_steps(start: datetime, end: datetime, points: int) -> Iterator[int]:
    """The round lengths of a bucket, in seconds, of which at most `points` are as long as the
    range; the shortest first, and without end.

    A range that begins and ends within a bucket touches one more, but never one too many.
    """
    wanted = (end - start).total_seconds() / min(points, POINTS_LIMIT - 2)
    yield from (step for step in STEPS if step >= wanted)
    yield from (DAY * days for days in count(max(STEPS[-1] // DAY + 1, math.ceil(wanted / DAY))))


def bucket_boundaries(start: datetime, end: datetime, step: int, zone: tzinfo) -> list[datetime]:
    """Where the buckets begin that a range touches, in order, and last where the last one ends.

    They are round times on a clock in `zone`: for steps of whole days its midnights, 23 and 25
    hours apart where the clocks change; for some hours, its hours; up to an hour, from one round
    time on, so that these are all of one length.
    """
    length = timedelta(seconds=step)
    local = start.astimezone(zone).replace(tzinfo=None)
    round_from = MONDAY if step >= DAY else datetime.combine(local.date(), time())
    into = (local - round_from) % length
    if step <= HOUR:
        first = start - into
        return [first + number * length for number in range(-((first - end) // length) + 1)]
    found: list[datetime] = []
    for number in count(-1):
        boundary = (local - into + number * length).replace(tzinfo=zone).astimezone(UTC)
        # A time that the clocks skipped is the moment they did so, and the next may be that too.
        if found and boundary <= found[-1]:
            continue
        if boundary <= start:
            found.clear()
        found.append(boundary)
        if boundary >= end:
            break
    return found
