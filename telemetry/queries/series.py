"""Keys' values over time, in buckets, as columns: what charts are drawn from.

What a bucket holds is summed up from three tables: the days and hours that lie whole in one, and,
for what is left over at the ends or is not rolled up yet, the readings themselves.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from common.timestamps import MIN_TIMESTAMP
from devices.models import Device
from telemetry.queries import buckets, json_values_sql, series_sql
from telemetry.queries.plan import SourcePlan, plan_sources
from telemetry.rollups import build as rollups
from telemetry.rollups.build import ALL_AVAILABLE, DAY, HOUR, AvailableFrom

KEY = re.compile(rf"^([A-Za-z0-9_-]{{1,64}})\.({json_values_sql.PATH})\Z", re.ASCII)
"""A telemetry type, a point, and the path of a value in the payload."""
KEYS_LIMIT = 20
POINTS_LIMIT = buckets.POINTS_LIMIT
GAP_FACTOR = 2.5
"""Expected intervals after which a silence is none that was expected."""
READINGS_LIMIT, HARD_READINGS_LIMIT = 12_000, 150_000
"""Readings that are worth reading for finer buckets than rollups would do: 12,000 take some 25 ms.
Where a chart would be too coarse without (of a day or less, or by the clocks of a zone whose offset
is no whole hour) it may be the other."""
NUMBER_FORMAT = "%.10g"
"""Numbers in an answer: finer than any chart, and half as long as a double can be."""


class InvalidKey(ValueError):
    """Not a key that a chart can be drawn of."""


class Columns(NamedTuple):
    """What the values of one key come to in each bucket; None and 0 where it has none."""

    avg: Sequence[float | None] = ()
    min: Sequence[float | None] = ()
    max: Sequence[float | None] = ()
    count: Sequence[int] = ()  # type: ignore[assignment]


class Series(NamedTuple):
    """The columns of each key, and the buckets that they share.

    `t` is when those begin, in Unix seconds, oldest first. They are the buckets in which a key
    has a value and, wherever all keys have none for longer than SILENCES expected intervals, one
    that is empty: there a line is to break. `resolution` is their length in seconds, and `source`
    the coarsest table they were read from: raw, hour or day.
    """

    resolution: int
    source: str
    t: list[int]
    columns: dict[str, Columns]


def query_series(
    device: Device,
    *,
    keys: Sequence[str],
    start: datetime,
    end: datetime,
    points: int,
    now: datetime,
    zone: tzinfo = UTC,
    kept: AvailableFrom = ALL_AVAILABLE,
) -> Series:
    """These keys from `start` to before `end`, in at most about `points` buckets.

    Booleans count as 0 and 1; texts are no numbers and are passed over. Raises InvalidKey.
    """
    # Nothing is recorded before or after, and calendars have no room for all of time.
    start = max(start, MIN_TIMESTAMP)
    end = min(end, now + timedelta(seconds=settings.MAX_CLOCK_SKEW_SECONDS + 1))
    step = _step(device, keys, start, max(start, end), points, zone, kept)
    return query_series_by_step(
        device, keys=keys, start=start, end=end, step=step, zone=zone, kept=kept
    )


def query_series_by_step(
    device: Device,
    *,
    keys: Sequence[str],
    start: datetime,
    end: datetime,
    step: int,
    zone: tzinfo = UTC,
    kept: AvailableFrom = ALL_AVAILABLE,
) -> Series:
    """Like `series`, in buckets of `step` seconds, which is one of `buckets.steps`."""
    names = list(dict.fromkeys(keys))
    if start >= end:
        return Series(step, "raw", [], {name: Columns() for name in names})
    bounds = buckets.bucket_boundaries(start, end, step, zone)
    tiles = plan_sources(
        start, end, bounds, step=step, rolled_until=rollups.get_rollup_watermark(), kept=kept
    )
    found = _read(device, names, bounds, tiles)
    filled = {place for places, *_ in found.values() for place in places}
    shown = _shown(filled, bounds, silence=timedelta(seconds=GAP_FACTOR * device.expected_interval))
    times = [int(bounds[place].timestamp()) for place in shown]
    columns = {name: _columns(found.get(number), shown) for number, name in enumerate(names)}
    return Series(step, tiles.source, times, columns)


def _split(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """The types, and the paths below them. Raises InvalidKey."""
    matches = [KEY.fullmatch(key) for key in keys]
    if not all(matches):
        raise InvalidKey
    return [match[1] for match in matches if match], [match[2] for match in matches if match]


def _step(
    device: Device,
    keys: Sequence[str],
    start: datetime,
    end: datetime,
    points: int,
    zone: tzinfo,
    kept: AvailableFrom,
) -> int:
    """The shortest step in seconds that the range can be had in: by what is kept of it, and by
    how many readings have to be read.

    Those are all of them for steps below an hour; in zones whose offset is no whole hour, those of
    the hour at each boundary; else next to none.
    """
    least = buckets.DAY if start < kept.hours else buckets.HOUR if start < kept.raw else 0
    offsets = [time.astimezone(zone).utcoffset() for time in (start, end)]
    torn = 1 if any(offset and offset % HOUR for offset in offsets) else 0
    stored: int | None = None
    for step in buckets.allowed_steps(start, end, points):
        hours = step / buckets.HOUR
        part = torn / hours if hours >= 1 else 1
        if part and stored is None:
            stored = _count(device, start, end)
        limit = READINGS_LIMIT if hours < 1 and end - start > DAY else HARD_READINGS_LIMIT
        if step >= least and (stored or 0) * part <= limit:
            break
    return step


def _count(device: Device, start: datetime, end: datetime) -> int:
    """How many readings would have to be read, as far as they are rolled up: all of the device,
    whichever have these keys. Of each type it is as many as the first of its keys has values.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"device": device.pk, "start": start, "end": end})
        return int(cursor.fetchone()[0])


class Found(NamedTuple):
    """Of one key, the buckets with a value, by their number, and what it comes to in each."""

    places: list[int]
    sum: list[float]
    min: list[float]
    max: list[float]
    count: list[int]  # type: ignore[assignment]


def _read(
    device: Device, keys: Sequence[str], bounds: list[datetime], tiles: SourcePlan
) -> dict[int, Found]:
    """What the tiles come to, by the number of the key; without keys that have no value."""
    types, paths = _split(keys)
    arguments: dict[str, Any] = {
        "device": device.pk,
        "types": types,
        "keys": paths,
        # As text: psycopg would take longer to write a thousand times than PostgreSQL to read them.
        "bounds": f"{{{','.join(map(datetime.isoformat, bounds))}}}",
        "torn": tiles.torn,
    }
    for number, (telemetry_type, path) in enumerate(zip(types, paths, strict=True)):
        arguments[f"type{number}"] = telemetry_type
        arguments[f"key{number}"], arguments[f"path{number}"] = path, path.split(".")
    for name, spans in (("raw", tiles.raw), ("hours", tiles.hours), ("days", tiles.days)):
        for number, (start, end) in enumerate(spans):
            arguments[f"{name}{number}_start"], arguments[f"{name}{number}_end"] = start, end
    if tiles.torn:
        arguments["torn_start"], arguments["torn_end"] = tiles.torn[0], tiles.torn[-1] + HOUR
    with connection.cursor() as cursor:
        cursor.execute(series_sql.statement(len(keys), tiles), arguments)
        return {number: Found(*columns) for number, *columns in cursor}


def _shown(filled: set[int], bounds: list[datetime], *, silence: timedelta) -> list[int]:
    """The buckets to show: the filled ones, and the first of those between that are a silence."""
    shown: list[int] = []
    for place in sorted(filled):
        if shown and bounds[place] - bounds[shown[-1] + 1] > silence:
            shown.append(shown[-1] + 1)
        shown.append(place)
    return shown


def _columns(found: Found | None, shown: list[int]) -> Columns:
    if found is None:
        nothing = [None] * len(shown)
        return Columns(nothing, nothing, nothing, [0] * len(shown))
    # Not divided by PostgreSQL, to which a result that is too small for a double is an error.
    avg = [total / count for total, count in zip(found.sum, found.count, strict=True)]
    short = (
        [float(NUMBER_FORMAT % value) for value in column] for column in (avg, found.min, found.max)
    )
    rows = dict(zip(found.places, zip(*short, found.count, strict=True), strict=True))
    return Columns(*zip(*(rows.get(place, (None, None, None, 0)) for place in shown), strict=True))


COUNT = """
    SELECT COALESCE(sum(of_type), 0)::bigint FROM (
        SELECT sum(hours.count) AS of_type
        FROM (
            SELECT DISTINCT ON (telemetry_type) telemetry_type, key FROM telemetry_keys AS keys
            WHERE device_id = %(device)s AND EXISTS (
                SELECT FROM telemetry_hours AS hours WHERE hours.device_id = %(device)s
                    AND hours.telemetry_type = keys.telemetry_type AND hours.key = keys.key)
            ORDER BY telemetry_type, key
        ) AS first JOIN telemetry_hours AS hours USING (telemetry_type, key)
        WHERE device_id = %(device)s AND bucket >= %(start)s AND bucket < %(end)s
        GROUP BY telemetry_type
    ) AS counted
"""
