"""SQL that builds rollups; the parameters `devices` and `buckets` are arrays of equal length."""

from telemetry.queries import json_values_sql


def _statement(table: str, values: str, then: str) -> str:
    """Return SQL that replaces the rows of these buckets in `table` by the rows of `values`.

    `then` continues the statement. Rows that would not change are not written.
    """
    return f"""
        WITH requested AS MATERIALIZED (
            SELECT * FROM unnest(%(devices)s::uuid[], %(buckets)s::timestamptz[])
                AS requested(device_id, bucket)
        ), computed AS MATERIALIZED (
            SELECT * FROM requested CROSS JOIN LATERAL ({values}) AS computed
        ), empty AS (
            SELECT device_id, telemetry_type, key, bucket
            FROM requested JOIN telemetry_keys USING (device_id)
            EXCEPT SELECT device_id, telemetry_type, key, bucket FROM computed WHERE count > 0
        ), deleted AS (
            DELETE FROM {table} AS stored USING empty
            WHERE (stored.device_id, stored.telemetry_type, stored.key, stored.bucket)
                = (empty.device_id, empty.telemetry_type, empty.key, empty.bucket)
        ), written AS (
            INSERT INTO {table} AS stored
                (device_id, telemetry_type, key, bucket, count, sum, min, max)
            SELECT device_id, telemetry_type, key, bucket, count, sum, min, max FROM computed
            WHERE count > 0
            ORDER BY device_id, telemetry_type, key, bucket
            ON CONFLICT (device_id, telemetry_type, key, bucket) DO UPDATE
            SET count = excluded.count, sum = excluded.sum, min = excluded.min, max = excluded.max
            WHERE (stored.count, stored.sum, stored.min, stored.max)
                IS DISTINCT FROM (excluded.count, excluded.sum, excluded.min, excluded.max)
        ) {then}
    """  # noqa: S608 - built from constants only


BUILD_HOURS_SQL = _statement(
    table="telemetry_hours",
    values=f"""
        SELECT telemetry_type, key, count(value), sum(value), min(value), max(value)
        FROM (
            SELECT telemetry_type, key, {json_values_sql.json_number_sql("leaf")} AS value
            FROM (
                SELECT telemetry_type, key,
                    {json_values_sql.json_leaf_sql("key", "string_to_array(key, '.')")} AS leaf
                FROM telemetry AS reading JOIN telemetry_keys USING (device_id, telemetry_type)
                WHERE reading.device_id = requested.device_id AND recorded_at >= requested.bucket
                    AND recorded_at < requested.bucket + interval '1 hour'
                OFFSET 0
            ) AS found WHERE leaf IS NOT NULL OFFSET 0
        ) AS measured
        GROUP BY telemetry_type, key
    """,  # noqa: S608
    then="""
        , changed AS (
            SELECT device_id, telemetry_type, key, seen.last_hour, seen.since
            FROM telemetry_keys AS keys JOIN (
                SELECT device_id, telemetry_type, key,
                    max(bucket) AS last_hour, min(bucket) AS since
                FROM computed GROUP BY device_id, telemetry_type, key
            ) AS seen USING (device_id, telemetry_type, key)
            WHERE keys.last_hour IS NULL OR keys.last_hour < seen.last_hour
                OR keys.since > seen.since
            ORDER BY device_id, telemetry_type, key FOR NO KEY UPDATE OF keys
        )
        UPDATE telemetry_keys AS keys
        SET last_hour = GREATEST(keys.last_hour, changed.last_hour),
            since = LEAST(keys.since, changed.since)
        FROM changed
        WHERE (keys.device_id, keys.telemetry_type, keys.key)
            = (changed.device_id, changed.telemetry_type, changed.key)
    """,
)
BUILD_DAYS_SQL = _statement(
    table="telemetry_days",
    values="""
        SELECT telemetry_type, key, sum(count) AS count, sum(sum), min(min), max(max)
        FROM telemetry_keys AS keys CROSS JOIN LATERAL (
            SELECT count, sum, min, max FROM telemetry_hours
            WHERE device_id = keys.device_id AND telemetry_type = keys.telemetry_type
                AND key = keys.key AND bucket >= requested.bucket
                AND bucket < requested.bucket + interval '24 hours'
        ) AS hours
        WHERE keys.device_id = requested.device_id
        GROUP BY telemetry_type, key
    """,
    then="SELECT",
)
REGISTER_KEYS_SQL = f"""
    WITH RECURSIVE leaves AS (
        SELECT telemetry_type, recorded_at, of_payload.key AS key, of_payload.value AS value
        FROM telemetry, jsonb_each(payload) AS of_payload
        WHERE device_id = %(device)s AND recorded_at >= %(start)s AND recorded_at < %(end)s
        UNION ALL
        SELECT telemetry_type, recorded_at, leaves.key || '.' || inside.key, inside.value
        FROM leaves CROSS JOIN LATERAL (
            SELECT key, value FROM jsonb_each(
                CASE jsonb_typeof(leaves.value) WHEN 'object' THEN leaves.value END)
            UNION ALL
            SELECT (number - 1)::text, value FROM jsonb_array_elements(
                CASE jsonb_typeof(leaves.value) WHEN 'array' THEN leaves.value END
            ) WITH ORDINALITY AS element(value, number)
        ) AS inside
    )
    , found AS (
        SELECT telemetry_type, key, date_trunc('hour', min(recorded_at), 'UTC') AS since
        FROM leaves WHERE jsonb_typeof(value) NOT IN ('object', 'array')
        GROUP BY telemetry_type, key
        OFFSET 0
    )
    INSERT INTO telemetry_keys (device_id, telemetry_type, key, since, label, unit)
    SELECT %(device)s, telemetry_type, key, since, '', '' FROM found
    WHERE key ~ '^{json_values_sql.PATH}$' AND (telemetry_type, key) NOT IN (
        SELECT telemetry_type, key FROM telemetry_keys WHERE device_id = %(device)s)
    ORDER BY telemetry_type, key
    LIMIT (
        SELECT GREATEST(0, %(most)s - count(*)) FROM telemetry_keys WHERE device_id = %(device)s)
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - built from constants only
"""Register every path of the stored payloads that leads to a value."""
