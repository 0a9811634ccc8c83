"""Ingest rate and storage use: readings per hour and day, bytes per table and partition.

The time for each figure does not depend on the number of readings. The rate comes from one bucket
of a sample of keys, the sizes are file sizes.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection

from telemetry.retention import partitions
from telemetry.retention.partitions import Partition
from telemetry.rollups.build import DAY, HOUR, floor

SAMPLE_SIZE = 5_000
"""Number of keys whose newest hour and day are read; with more keys the sum is an estimate."""
EMPTY_PARTITION_BYTES = 64 * 1024
"""Maximum size of a partition without readings."""
MIN_DAYS = 1.0
"""Days of a month after which its growth is meaningful."""

# The number of readings of a type is the value count of its most frequent key.
RATE_SQL = """
    WITH sample AS MATERIALIZED (
        SELECT device_id, telemetry_type, key FROM telemetry_keys
        ORDER BY device_id, telemetry_type, key LIMIT %(sample)s
    ), of_type AS (
        SELECT max(hour.count) AS hour, max(day.count) AS day FROM sample
        LEFT JOIN telemetry_hours hour
            ON (hour.device_id, hour.telemetry_type, hour.key)
                = (sample.device_id, sample.telemetry_type, sample.key)
            AND hour.bucket = %(hour)s
        LEFT JOIN telemetry_days day
            ON (day.device_id, day.telemetry_type, day.key)
                = (sample.device_id, sample.telemetry_type, sample.key)
            AND day.bucket = %(day)s
        GROUP BY sample.device_id, sample.telemetry_type
    )
    SELECT coalesce(sum(hour), 0), coalesce(sum(day), 0), (SELECT count(*) FROM sample),
        (SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'telemetry_keys'::regclass)
    FROM of_type
"""
SIZES_SQL = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    ORDER BY 2 DESC
"""


class Rate(NamedTuple):
    """Readings with numbers, in the newest hour and day that are rolled up completely."""

    per_minute: float
    per_day: int
    hour: datetime
    exact: bool


class Sizes(NamedTuple):
    """Bytes with indexes: of the tables, largest first, and of the partitions, newest first."""

    tables: list[tuple[str, int]]
    partitions: list[tuple[Partition, int]]

    @property
    def total(self) -> int:
        return sum(size for _, size in self.tables)


def ingest_rate() -> Rate:
    """Return the current rate of incoming readings."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM telemetry_rolled_until")
        (until,) = cursor.fetchone()
        hour, day = until - HOUR, floor(until, DAY) - DAY
        cursor.execute(RATE_SQL, {"sample": SAMPLE_SIZE, "hour": hour, "day": day})
        in_hour, in_day, sampled, known = cursor.fetchone()
    exact = sampled < SAMPLE_SIZE
    factor = 1.0 if exact else max(1.0, known / sampled)
    return Rate(float(in_hour) * factor / 60, round(float(in_day) * factor), hour, exact)


def sizes() -> Sizes:
    """Return the sizes of the tables; all partitions of the readings count as one table."""
    with connection.cursor() as cursor:
        cursor.execute(SIZES_SQL)
        rows = cursor.fetchall()
    by_name = {partition.name: partition for partition in partitions.list_months()}
    parts = [(by_name[name], size) for name, size in rows if name in by_name]
    tables = [(name, size) for name, size in rows if name not in by_name]
    tables.append(("telemetry", sum(size for _, size in parts)))
    tables.sort(key=lambda table: -table[1])
    return Sizes(tables, sorted(parts, reverse=True))


def daily_growth(stats: Sizes, now: datetime) -> float | None:
    """Return the growth of the readings in bytes per day.

    It is measured over the last complete month, or else over this month so far. Return None if that
    is too short.
    """
    by_month = {part.first: size for part, size in stats.partitions if part.first == part.last}
    this = partitions.month_of(now)
    last = partitions.month_of(partitions.month_start(this) - timedelta(days=1))
    days_so_far = (now - partitions.month_start(this)) / DAY
    if by_month.get(last, 0) > EMPTY_PARTITION_BYTES:
        return by_month[last] / (
            (partitions.month_start(this) - partitions.month_start(last)) / DAY
        )
    if days_so_far < MIN_DAYS or by_month.get(this, 0) <= EMPTY_PARTITION_BYTES:
        return None
    return by_month[this] / days_so_far
