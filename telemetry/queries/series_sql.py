"""The SQL statement that reads a series; its text depends on the number of keys and spans.

PostgreSQL merges a subquery into the outer query and evaluates its expressions at every mention.
OFFSET 0 prevents that and makes the part that reads readings three times as fast.

The parameters are `device`, `types`, `keys` and `bounds`; for each key, numbered from 0, `type0`,
`key0` and `path0`; and for each span of the plan `raw0_start`, `raw0_end`, `hours0_start`, …
"""

from telemetry.queries.json_values_sql import json_leaf_sql, json_number_sql
from telemetry.queries.plan import SourcePlan


def series_statement(keys: int, plan: SourcePlan) -> str:
    """Return SQL with one row for each key that has a value.

    The row has the index of the key, then arrays: the indexes of its buckets (from 0), and the sum,
    minimum, maximum and count in each.
    """
    split = bool(plan.split_hours)
    readings = [_readings(f"raw{n}") for n in range(len(plan.raw))] + [SPLIT_HOURS_SQL] * split
    parts = [
        *([_of_readings(keys, readings)] if readings else []),
        *(_of_hours(f"hours{n}", split=split) for n in range(len(plan.hours))),
        *(_of_days(f"days{n}") for n in range(len(plan.days))),
    ]
    exact = len(parts) == 1 and not (plan.hours or plan.days)
    return f"""
        WITH grid AS MATERIALIZED (SELECT %(bounds)s::timestamptz[] AS bounds)
        SELECT number, array_agg(bucket_number - 1), array_agg(sum), array_agg(min),
            array_agg(max), array_agg(count)
        FROM ({parts[0] if exact else _summed(parts)}) AS summed
        GROUP BY number
    """  # noqa: S608 - built from constants and numbers only


def _summed(parts: list[str]) -> str:
    return f"""
        SELECT number, bucket_number, sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min,
            max(max) AS max
        FROM ({" UNION ALL ".join(parts)}) AS parts GROUP BY number, bucket_number
    """  # noqa: S608


def _readings(span: str) -> str:
    return f"""
        SELECT telemetry_type, payload, recorded_at FROM telemetry
        WHERE device_id = %(device)s AND telemetry_type = ANY (%(types)s)
            AND recorded_at >= %({span}_start)s AND recorded_at < %({span}_end)s
    """  # noqa: S608


# The bounds of the whole span let the planner skip the other partitions. OFFSET 0 makes it look up
# each hour instead of reading everything in between.
SPLIT_HOURS_SQL = f"""
    SELECT in_hour.* FROM unnest(%(split_hours)s::timestamptz[]) AS split(hour) CROSS JOIN LATERAL (
        {_readings("split")}
            AND recorded_at >= split.hour AND recorded_at < split.hour + interval '1 hour'
        OFFSET 0
    ) AS in_hour
"""  # noqa: S608


def _of_readings(keys: int, readings: list[str]) -> str:
    """Return SQL that reads the readings once for all keys; the columns then become rows."""
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
        SELECT number, bucket_number, count, sum, min, max
        FROM (
            SELECT bucket_number, {sums}
            FROM (
                SELECT bucket_number, {found}
                FROM (
                    SELECT width_bucket(recorded_at, (SELECT bounds FROM grid)) AS bucket_number,
                        {leaves}
                    FROM ({" UNION ALL ".join(readings)}) AS readings OFFSET 0
                ) AS leaves OFFSET 0
            ) AS measured
            GROUP BY bucket_number
        ) AS summed
        CROSS JOIN LATERAL (VALUES {rows}) AS of_key(number, count, sum, min, max)
        WHERE count > 0
    """  # noqa: S608


def _of_hours(span: str, *, split: bool) -> str:
    condition = "AND bucket <> ALL (%(split_hours)s::timestamptz[])" if split else ""
    return _of_rollups("telemetry_hours", "30 minutes", span, condition)


def _of_days(span: str) -> str:
    return _of_rollups("telemetry_days", "12 hours", span)


def _of_rollups(table: str, half: str, span: str, condition: str = "") -> str:
    """Return SQL that assigns each hour or day to the bucket of its middle (see plan.py)."""
    return f"""
        SELECT number - 1 AS number,
            width_bucket(bucket + interval '{half}', (SELECT bounds FROM grid)) AS bucket_number,
            count, sum, min, max
        FROM unnest(%(types)s::text[], %(keys)s::text[])
            WITH ORDINALITY AS requested(telemetry_type, key, number)
        CROSS JOIN LATERAL (
            SELECT bucket, count, sum, min, max FROM {table}
            WHERE device_id = %(device)s AND telemetry_type = requested.telemetry_type
                AND key = requested.key
                AND bucket >= %({span}_start)s AND bucket < %({span}_end)s {condition}
        ) AS rollups
    """  # noqa: S608
