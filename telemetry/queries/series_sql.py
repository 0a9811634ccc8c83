"""The one statement that reads a series: its text depends on how many keys and spans there are.

PostgreSQL moves a subquery's expressions into the query around it and works them out at each
mention there. OFFSET 0 keeps it from that; reading readings is three times as fast with it.

Beside `device`, `types`, `keys` and `bounds` its parameters are, numbered from 0, `type0`, `key0`
and `path0` of each key, and `raw0_start`, `raw0_end`, `hours0_start`, … of each span of the tiles.
"""

from telemetry.queries.json_values_sql import json_leaf_sql, json_number_sql
from telemetry.queries.plan import SourcePlan


def statement(keys: int, tiles: SourcePlan) -> str:
    """SQL of a row for each key that has a value: its number, then arrays of the buckets it has
    one in (numbered from 0), and of the sum, least, greatest and count in each.
    """
    torn = bool(tiles.torn)
    readings = [_readings(f"raw{n}") for n in range(len(tiles.raw))] + [TORN] * torn
    parts = [
        *([_of_readings(keys, readings)] if readings else []),
        *(_of_hours(f"hours{n}", torn=torn) for n in range(len(tiles.hours))),
        *(_of_days(f"days{n}") for n in range(len(tiles.days))),
    ]
    one = len(parts) == 1 and not (tiles.hours or tiles.days)
    return f"""
        WITH grid AS MATERIALIZED (SELECT %(bounds)s::timestamptz[] AS bounds)
        SELECT number, array_agg(place - 1), array_agg(sum), array_agg(min),
            array_agg(max), array_agg(count)
        FROM ({parts[0] if one else _summed(parts)}) AS summed
        GROUP BY number
    """  # noqa: S608 - put together of constants and numbers


def _summed(parts: list[str]) -> str:
    return f"""
        SELECT number, place, sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min,
            max(max) AS max
        FROM ({" UNION ALL ".join(parts)}) AS parts GROUP BY number, place
    """  # noqa: S608


def _readings(span: str) -> str:
    return f"""
        SELECT telemetry_type, payload, recorded_at FROM telemetry
        WHERE device_id = %(device)s AND telemetry_type = ANY (%(types)s)
            AND recorded_at >= %({span}_start)s AND recorded_at < %({span}_end)s
    """  # noqa: S608


# The bounds of them all let the planner leave out the months before and after; OFFSET 0 makes it
# look each hour up instead of reading all that lies between.
TORN = f"""
    SELECT in_hour.* FROM unnest(%(torn)s::timestamptz[]) AS torn(hour) CROSS JOIN LATERAL (
        {_readings("torn")}
            AND recorded_at >= torn.hour AND recorded_at < torn.hour + interval '1 hour'
        OFFSET 0
    ) AS in_hour
"""  # noqa: S608


def _of_readings(keys: int, readings: list[str]) -> str:
    """One pass over the readings for all keys, as columns, which then become rows."""
    numbers = range(keys)
    leaves = ", ".join(
        f"CASE WHEN telemetry_type = %(type{n})s"
        f" THEN {json_leaf_sql(f'%(key{n})s', f'%(path{n})s::text[]')} END AS leaf{n}"
        for n in numbers
    )
    found = ", ".join(f"{json_number_sql(f'leaf{n}')} AS value{n}" for n in numbers)
    sums = ", ".join(
        f"count(value{n}) AS count{n}, sum(value{n}) AS sum{n},"
        f" min(value{n}) AS min{n}, max(value{n}) AS max{n}"
        for n in numbers
    )
    rows = ", ".join(f"({n}, count{n}, sum{n}, min{n}, max{n})" for n in numbers)
    return f"""
        SELECT number, place, count, sum, min, max
        FROM (
            SELECT place, {sums}
            FROM (
                SELECT place, {found}
                FROM (
                    SELECT width_bucket(recorded_at, (SELECT bounds FROM grid)) AS place, {leaves}
                    FROM ({" UNION ALL ".join(readings)}) AS readings OFFSET 0
                ) AS leaves OFFSET 0
            ) AS measured
            GROUP BY place
        ) AS summed
        CROSS JOIN LATERAL (VALUES {rows}) AS of_key(number, count, sum, min, max)
        WHERE count > 0
    """  # noqa: S608


def _of_hours(span: str, *, torn: bool) -> str:
    but = "AND bucket <> ALL (%(torn)s::timestamptz[])" if torn else ""
    return _of_rollups("telemetry_hours", "30 minutes", span, but)


def _of_days(span: str) -> str:
    return _of_rollups("telemetry_days", "12 hours", span)


def _of_rollups(table: str, half: str, span: str, but: str = "") -> str:
    """The middle tells the bucket: mostly all of an hour or day is in it (see telemetry.tiles)."""
    return f"""
        SELECT number - 1 AS number,
            width_bucket(bucket + interval '{half}', (SELECT bounds FROM grid)) AS place,
            count, sum, min, max
        FROM unnest(%(types)s::text[], %(keys)s::text[])
            WITH ORDINALITY AS asked(telemetry_type, key, number)
        CROSS JOIN LATERAL (
            SELECT bucket, count, sum, min, max FROM {table}
            WHERE device_id = %(device)s AND telemetry_type = asked.telemetry_type
                AND key = asked.key
                AND bucket >= %({span}_start)s AND bucket < %({span}_end)s {but}
        ) AS rollups
    """  # noqa: S608
