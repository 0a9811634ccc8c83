"""Recent values of many devices in one query, for the sparklines in lists.

A sparkline covers a day of hourly averages. A device with few hours gets its newest readings.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from telemetry.queries import json_values_sql

PERIOD = timedelta(hours=24)
MIN_HOURS = 6
MAX_READINGS = 60
"""Number of newest readings of a device, of all types, that are read if it has too few hours."""

Point = tuple[float, float]
"""A time in Unix seconds and a value."""


class SparklineKey(NamedTuple):
    """A key of a device."""

    device: UUID
    telemetry_type: str
    path: str


def recent_points(
    requested: Sequence[SparklineKey], *, now: datetime
) -> dict[SparklineKey, list[Point]]:
    """Return for each key its last hourly averages or its newest readings, oldest first."""
    if not requested:
        return {}
    devices, types, paths = (list(column) for column in zip(*requested, strict=True))
    params: dict[str, Any] = {
        "devices": devices,
        "types": types,
        "keys": paths,
        "start": now - PERIOD,
    }
    points: dict[SparklineKey, list[Point]] = {key: [] for key in requested}
    with connection.cursor() as cursor:
        cursor.execute(RECENT_POINTS_SQL, params)
        for number, times, sums, counts in cursor:
            # PostgreSQL raises an error if a quotient is too small for a double, so Python divides.
            averages = (total / count for total, count in zip(sums, counts, strict=True))
            points[requested[number - 1]] = list(zip(times, averages, strict=True))
    return points


RECENT_POINTS_SQL = f"""
    WITH requested AS MATERIALIZED (
        SELECT * FROM unnest(%(devices)s::uuid[], %(types)s::text[], %(keys)s::text[])
            WITH ORDINALITY AS requested(device_id, telemetry_type, key, number)
    ), hours AS MATERIALIZED (
        SELECT number, bucket + interval '30 minutes' AS at, sum, count
        FROM requested CROSS JOIN LATERAL (
            SELECT bucket, sum, count FROM telemetry_hours AS hours
            WHERE hours.device_id = requested.device_id
                AND hours.telemetry_type = requested.telemetry_type AND hours.key = requested.key
                AND bucket >= %(start)s
        ) AS found
    ), with_few_hours AS MATERIALIZED (
        SELECT * FROM requested WHERE number NOT IN (
            SELECT number FROM hours GROUP BY number HAVING count(*) >= {MIN_HOURS})
    ), readings AS MATERIALIZED (
        SELECT device_id, newest.* FROM (SELECT DISTINCT device_id FROM with_few_hours) AS devices
        CROSS JOIN LATERAL (
            SELECT recorded_at, telemetry_type, payload FROM telemetry
            WHERE telemetry.device_id = devices.device_id AND recorded_at >= %(start)s
            ORDER BY recorded_at DESC, id DESC LIMIT {MAX_READINGS}
        ) AS newest
    ), leaves AS (
        SELECT number, recorded_at AS at,
            {json_values_sql.json_leaf_sql("key", "string_to_array(key, '.')")} AS leaf
        FROM with_few_hours JOIN readings USING (device_id, telemetry_type)
        OFFSET 0
    ), numbers AS (
        SELECT number, at, {json_values_sql.json_number_sql("leaf")} AS value FROM leaves
    ), points AS (
        SELECT number, at, sum, count FROM hours JOIN requested USING (number)
        WHERE number NOT IN (SELECT number FROM with_few_hours)
        UNION ALL SELECT number, at, value, 1 FROM numbers WHERE value IS NOT NULL
    )
    SELECT number, array_agg(extract(epoch FROM at)::float8 ORDER BY at),
        array_agg(sum ORDER BY at), array_agg(count ORDER BY at)
    FROM points GROUP BY number
"""  # noqa: S608 - built from constants only
