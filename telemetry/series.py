"""A key's values over time, in buckets, as columns: what a chart is drawn from."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from devices.models import Device

KEY = re.compile(r"^([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_.-]{1,64})\Z", re.ASCII)
"""A telemetry type, a point, and the path of a value in the payload."""

POINTS_LIMIT = 2000
KEYS_LIMIT = 20
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
STEPS = [
    *(1, 2, 5, 10, 15, 30),
    *(MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 7, 14, 28)),
]
"""Lengths of a bucket in seconds that people can read off an axis."""

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: buckets of any length begin on round times counted from it."""


class InvalidKey(ValueError):
    """Not a key that a chart can be drawn of."""


class Series(NamedTuple):
    """One row for each bucket with a value, oldest first; `t` is its start in Unix seconds."""

    t: list[int]
    avg: list[float]
    min: list[float]
    max: list[float]
    count: list[int]  # type: ignore[assignment]


def resolution(start: datetime, end: datetime, points: int) -> timedelta:
    """The shortest round bucket of which at most `points` are as long as the range.

    A range that begins within a bucket touches one more.
    """
    wanted = (end - start).total_seconds() / points
    fitting = next((step for step in STEPS if step >= wanted), None)
    if fitting is None:
        fitting = DAY * math.ceil(wanted / DAY)
    return timedelta(seconds=fitting)


def series(device: Device, *, key: str, start: datetime, end: datetime, step: timedelta) -> Series:
    """The buckets of one key from `start` to before `end`; booleans count as 0 and 1.

    Texts are no numbers and are passed over. Raises InvalidKey.
    """
    match = KEY.fullmatch(key)
    if match is None:
        raise InvalidKey
    telemetry_type, path = match.groups()
    arguments: dict[str, Any] = {
        "device": device.pk,
        "type": telemetry_type,
        "path": path.split("."),
        "start": start,
        "end": end,
        "step": step,
        "origin": ORIGIN,
    }
    with connection.cursor() as cursor:
        cursor.execute(BUCKETS, arguments)
        rows = cursor.fetchall()
    return Series(*(list(column) for column in zip(*rows, strict=True))) if rows else EMPTY


EMPTY = Series([], [], [], [], [])
BUCKETS = """
    SELECT extract(epoch FROM date_bin(%(step)s, recorded_at, %(origin)s))::bigint AS t,
           avg(value), min(value), max(value), count(value)
    FROM (
        SELECT recorded_at, CASE jsonb_typeof(leaf)
            WHEN 'number' THEN leaf::float8 WHEN 'boolean' THEN leaf::boolean::int END AS value
        FROM telemetry, LATERAL (SELECT payload #> %(path)s::text[]) AS at_path(leaf)
        WHERE device_id = %(device)s AND telemetry_type = %(type)s
            AND recorded_at >= %(start)s AND recorded_at < %(end)s
    ) AS measured
    WHERE value IS NOT NULL
    GROUP BY t ORDER BY t
"""
