"""Lengths and boundaries of chart buckets. This module does not access the database."""

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
"""Bucket lengths in seconds that give readable axis labels."""
MONDAY = datetime(2000, 1, 3)  # noqa: DTZ001 - local time in any zone
"""Buckets of several days are counted from this Monday, so that weeks begin on Mondays."""


def allowed_steps(start: datetime, end: datetime, points: int) -> Iterator[int]:
    """Yield round bucket lengths in seconds, shortest first, that give at most `points` buckets.

    The iterator is endless. A range that starts and ends inside a bucket touches one bucket more,
    but never exceeds POINTS_LIMIT.
    """
    shortest = (end - start).total_seconds() / min(points, POINTS_LIMIT - 2)
    yield from (step for step in STEPS if step >= shortest)
    yield from (DAY * days for days in count(max(STEPS[-1] // DAY + 1, math.ceil(shortest / DAY))))


def bucket_boundaries(start: datetime, end: datetime, step: int, zone: tzinfo) -> list[datetime]:
    """Return the start of each bucket that the range touches, in order, and the end of the last.

    Boundaries are round local times in `zone`. Steps of whole days begin at midnight, which is 23
    or 25 hours later when the clocks change. Steps of several hours begin on full hours. Steps of
    up to an hour are counted from one round time, so that all buckets have the same length.
    """
    length = timedelta(seconds=step)
    local = start.astimezone(zone).replace(tzinfo=None)
    origin = MONDAY if step >= DAY else datetime.combine(local.date(), time())
    offset = (local - origin) % length
    if step <= HOUR:
        first = start - offset
        return [first + number * length for number in range(-((first - end) // length) + 1)]
    boundaries: list[datetime] = []
    for number in count(-1):
        boundary = (local - offset + number * length).replace(tzinfo=zone).astimezone(UTC)
        # A local time that the clocks skip maps to the moment of the change, and so may the next
        # one.
        if boundaries and boundary <= boundaries[-1]:
            continue
        if boundary <= start:
            boundaries.clear()
        boundaries.append(boundary)
        if boundary >= end:
            break
    return boundaries
