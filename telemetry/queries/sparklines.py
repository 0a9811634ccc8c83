"""How values went lately, of many devices in one query: what the small lines in lists are drawn of.

Hours do for a day; a device that has few of them yet is shown by its newest readings.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from telemetry.queries import json_values_sql

LENGTH = timedelta(hours=24)
MIN_HOURS = 6
NEWEST = 60
"""Readings of a device, of all its types, that are looked at where there are not enough hours."""

Point = tuple[float, float]
"""When, in Unix seconds, and a value."""


class SparklineKey(NamedTuple):
    """A key of a device."""

    device: UUID
    telemetry_type: str
    path: str


def recent_points(
    wanted: Sequence[SparklineKey], *, now: datetime
) -> dict[SparklineKey, list[Point]]:
    """Of each key the means of its last hours, or its newest readings; oldest first."""
    if not wanted:
        return {}
    devices, types, paths = (list(column) for column in zip(*wanted, strict=True))
    arguments: dict[str, Any] = {
        "devices": devices,
        "types": types,
        "keys": paths,
        "start": now - LENGTH,
    }
    found: dict[SparklineKey, list[Point]] = {one: [] for one in wanted}
    with connection.cursor() as cursor:
        cursor.execute(RECENT, arguments)
        for number, times, sums, counts in cursor:
            # Divided here: to PostgreSQL a result too small for a double is an error.
            means = (total / count for total, count in zip(sums, counts, strict=True))
            found[wanted[number - 1]] = list(zip(times, means, strict=True))
    return found


RECENT = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%(devices)s::uuid[], %(types)s::text[], %(keys)s::text[])
            WITH ORDINALITY AS asked(device_id, telemetry_type, key, number)
    ), hours AS MATERIALIZED (
        SELECT number, bucket + interval '30 minutes' AS at, sum, count
        FROM asked CROSS JOIN LATERAL (
            SELECT bucket, sum, count FROM telemetry_hours AS hours
            WHERE hours.device_id = asked.device_id
                AND hours.telemetry_type = asked.telemetry_type AND hours.key = asked.key
                AND bucket >= %(start)s
        ) AS found
    ), young AS MATERIALIZED (
        SELECT * FROM asked WHERE number NOT IN (
            SELECT number FROM hours GROUP BY number HAVING count(*) >= {MIN_HOURS})
    ), readings AS MATERIALIZED (
        SELECT device_id, newest.* FROM (SELECT DISTINCT device_id FROM young) AS devices
        CROSS JOIN LATERAL (
            SELECT recorded_at, telemetry_type, payload FROM telemetry
            WHERE telemetry.device_id = devices.device_id AND recorded_at >= %(start)s
            ORDER BY recorded_at DESC, id DESC LIMIT {NEWEST}
        ) AS newest
    ), leaves AS (
        SELECT number, recorded_at AS at,
            {json_values_sql.json_leaf_sql("key", "string_to_array(key, '.')")} AS leaf
        FROM young JOIN readings USING (device_id, telemetry_type)
        OFFSET 0
    ), numbers AS (
        SELECT number, at, {json_values_sql.json_number_sql("leaf")} AS value FROM leaves
    ), points AS (
        SELECT number, at, sum, count FROM hours JOIN asked USING (number)
        WHERE number NOT IN (SELECT number FROM young)
        UNION ALL SELECT number, at, value, 1 FROM numbers WHERE value IS NOT NULL
    )
    SELECT number, array_agg(extract(epoch FROM at)::float8 ORDER BY at),
        array_agg(sum ORDER BY at), array_agg(count ORDER BY at)
    FROM points GROUP BY number
"""  # noqa: S608 - put together of constants
