"""Values of keys over time, in buckets, as columns for charts.

A bucket is aggregated from three tables: days and hours that lie completely in it, and readings for
the remaining ends and for hours that are not rolled up yet.
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
"""A telemetry type, a dot, and the path of a value in the payload."""
KEYS_LIMIT = 20
POINTS_LIMIT = buckets.POINTS_LIMIT
GAP_FACTOR = 2.5
"""A gap is longer than this many expected intervals."""
READINGS_LIMIT, HARD_READINGS_LIMIT = 12_000, 150_000
"""How many readings may be read for finer buckets than the rollups allow; 12,000 take about 25 ms.
The hard limit applies where the chart would otherwise be too coarse: to a range of a day or less,
and to a time zone whose offset is not a whole hour."""
NUMBER_FORMAT = "%.10g"
"""Precision of numbers in a response: finer than any chart, and half as long as a full double."""


class InvalidKey(ValueError):
    """The key cannot be charted."""


class Columns(NamedTuple):
    """Aggregates of one key per bucket; None, and 0 as the count, where it has no value."""

    avg: Sequence[float | None] = ()
    min: Sequence[float | None] = ()
    max: Sequence[float | None] = ()
    count: Sequence[int] = ()  # type: ignore[assignment]


class Series(NamedTuple):
    """The columns of each key, and the buckets that all keys share.

    `timestamps` has the start of each bucket in Unix seconds, oldest first. It lists the buckets in
    which a key has a value. Where no key has a value for longer than GAP_FACTOR expected intervals,
    it also lists one empty bucket, so that the line of a chart breaks there. `resolution` is the
    length of a bucket in seconds. `source` is the coarsest table that was read: raw, hour or day.
    """

    resolution: int
    source: str
    timestamps: list[int]
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
    available_from: AvailableFrom = ALL_AVAILABLE,
) -> Series:
    """Return these keys from `start` to before `end`, in at most about `points` buckets.

    Booleans count as 0 and 1; strings are ignored. Raises InvalidKey.
    """
    # No reading is outside these limits, and datetime would overflow far outside them.
    start = max(start, MIN_TIMESTAMP)
    end = min(end, now + timedelta(seconds=settings.MAX_CLOCK_SKEW_SECONDS + 1))
    step = _step(device, keys, start, max(start, end), points, zone, available_from)
    return query_series_by_step(
        device, keys=keys, start=start, end=end, step=step, zone=zone, available_from=available_from
    )


def query_series_by_step(
    device: Device,
    *,
    keys: Sequence[str],
    start: datetime,
    end: datetime,
    step: int,
    zone: tzinfo = UTC,
    available_from: AvailableFrom = ALL_AVAILABLE,
) -> Series:
    """Like `query_series`, in buckets of `step` seconds, one of `buckets.allowed_steps`."""
    names = list(dict.fromkeys(keys))
    if start >= end:
        return Series(step, "raw", [], {name: Columns() for name in names})
    bounds = buckets.bucket_boundaries(start, end, step, zone)
    plan = plan_sources(
        start,
        end,
        bounds,
        step=step,
        rollup_watermark=rollups.get_rollup_watermark(),
        available_from=available_from,
    )
    by_key = _read(device, names, bounds, plan)
    filled = {bucket for key in by_key.values() for bucket in key.buckets}
    displayed = _with_gap_buckets(
        filled, bounds, gap=timedelta(seconds=GAP_FACTOR * device.expected_interval)
    )
    timestamps = [int(bounds[bucket].timestamp()) for bucket in displayed]
    columns = {name: _columns(by_key.get(number), displayed) for number, name in enumerate(names)}
    return Series(step, plan.source, timestamps, columns)


def _split(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split keys into telemetry types and paths. Raises InvalidKey."""
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
    available_from: AvailableFrom,
) -> int:
    """Return the shortest step in seconds that retention and READINGS_LIMIT allow.

    A step below an hour needs all readings of the range. In a zone whose offset is not a whole
    hour, a longer step needs the readings of the hour at each boundary. Otherwise almost none are
    read.
    """
    min_step = (
        buckets.DAY
        if start < available_from.hours
        else buckets.HOUR
        if start < available_from.raw
        else 0
    )
    offsets = [time.astimezone(zone).utcoffset() for time in (start, end)]
    split = 1 if any(offset and offset % HOUR for offset in offsets) else 0
    stored: int | None = None
    for step in buckets.allowed_steps(start, end, points):
        hours = step / buckets.HOUR
        fraction = split / hours if hours >= 1 else 1
        if fraction and stored is None:
            stored = _count(device, start, end)
        limit = READINGS_LIMIT if hours < 1 and end - start > DAY else HARD_READINGS_LIMIT
        if step >= min_step and (stored or 0) * fraction <= limit:
            break
    return step


def _count(device: Device, start: datetime, end: datetime) -> int:
    """Return about how many readings of the device in the range are rolled up.

    This counts the readings of all keys. The count of a type is the value count of its first key.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT_SQL, {"device": device.pk, "start": start, "end": end})
        return int(cursor.fetchone()[0])


class KeyBuckets(NamedTuple):
    """The indexes of the buckets in which one key has a value, and the aggregates of each."""

    buckets: list[int]
    sum: list[float]
    min: list[float]
    max: list[float]
    count: list[int]  # type: ignore[assignment]


def _read(
    device: Device, keys: Sequence[str], bounds: list[datetime], plan: SourcePlan
) -> dict[int, KeyBuckets]:
    """Read the buckets of each key that has a value, by the index of the key."""
    types, paths = _split(keys)
    params: dict[str, Any] = {
        "device": device.pk,
        "types": types,
        "keys": paths,
        # Passed as text: adapting a thousand times in psycopg is slower than parsing the text.
        "bounds": f"{{{','.join(map(datetime.isoformat, bounds))}}}",
        "split_hours": plan.split_hours,
    }
    for number, (telemetry_type, path) in enumerate(zip(types, paths, strict=True)):
        params[f"type{number}"] = telemetry_type
        params[f"key{number}"], params[f"path{number}"] = path, path.split(".")
    for name, spans in (("raw", plan.raw), ("hours", plan.hours), ("days", plan.days)):
        for number, (start, end) in enumerate(spans):
            params[f"{name}{number}_start"], params[f"{name}{number}_end"] = start, end
    if plan.split_hours:
        params["split_start"], params["split_end"] = (
            plan.split_hours[0],
            plan.split_hours[-1] + HOUR,
        )
    with connection.cursor() as cursor:
        cursor.execute(series_sql.series_statement(len(keys), plan), params)
        return {number: KeyBuckets(*columns) for number, *columns in cursor}


def _with_gap_buckets(filled: set[int], bounds: list[datetime], *, gap: timedelta) -> list[int]:
    """Return the filled buckets, and the first empty bucket of every gap."""
    displayed: list[int] = []
    for bucket in sorted(filled):
        if displayed and bounds[bucket] - bounds[displayed[-1] + 1] > gap:
            displayed.append(displayed[-1] + 1)
        displayed.append(bucket)
    return displayed


def _columns(values: KeyBuckets | None, displayed: list[int]) -> Columns:
    if values is None:
        empty = [None] * len(displayed)
        return Columns(empty, empty, empty, [0] * len(displayed))
    # PostgreSQL raises an error if a quotient is too small for a double, so Python divides.
    avg = [total / count for total, count in zip(values.sum, values.count, strict=True)]
    rounded = (
        [float(NUMBER_FORMAT % value) for value in column]
        for column in (avg, values.min, values.max)
    )
    rows = dict(zip(values.buckets, zip(*rounded, values.count, strict=True), strict=True))
    return Columns(
        *zip(*(rows.get(bucket, (None, None, None, 0)) for bucket in displayed), strict=True)
    )


COUNT_SQL = """
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
