"""How much there is and how much comes: readings by hour and day, bytes by table and partition.

Every figure is found in the same time whatever is stored: of the rollups a sample of keys is asked
for one bucket each, and the sizes are those of files.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection

from telemetry.retention import partitions
from telemetry.retention.partitions import Partition
from telemetry.rollups.build import DAY, HOUR, floor

SAMPLE = 5_000
"""Keys of which the newest hour and day are read; with more the sum is an estimate."""
EMPTY = 64 * 1024
"""Bytes that a month takes up at the most before anything is in it."""
LEAST_DAYS = 1.0
"""Of a month, before its growth says anything."""

# Of each type as many readings as its most frequent key has values.
RATE = """
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
SIZES = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    ORDER BY 2 DESC
"""


class Rate(NamedTuple):
    """Readings with numbers in them, in the newest hour and day that are rolled up whole."""

    per_minute: float
    per_day: int
    hour: datetime
    exact: bool


class Sizes(NamedTuple):
    """Bytes with indexes: by table, the largest first, and of the readings by partition, the newest
    first.
    """

    tables: list[tuple[str, int]]
    partitions: list[tuple[Partition, int]]

    @property
    def total(self) -> int:
        return sum(size for _, size in self.tables)


def ingest_rate() -> Rate:
    """How many readings come."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM telemetry_rolled_until")
        (until,) = cursor.fetchone()
        hour, day = until - HOUR, floor(until, DAY) - DAY
        cursor.execute(RATE, {"sample": SAMPLE, "hour": hour, "day": day})
        in_hour, in_day, seen, known = cursor.fetchone()
    exact = seen < SAMPLE
    share = 1.0 if exact else max(1.0, known / seen)
    return Rate(float(in_hour) * share / 60, round(float(in_day) * share), hour, exact)


def sizes() -> Sizes:
    """What the tables take up; the partitions of the readings count as one table."""
    with connection.cursor() as cursor:
        cursor.execute(SIZES)
        found = cursor.fetchall()
    by_name = {partition.name: partition for partition in partitions.list_months()}
    parts = [(by_name[name], size) for name, size in found if name in by_name]
    tables = [(name, size) for name, size in found if name not in by_name]
    tables.append(("telemetry", sum(size for _, size in parts)))
    tables.sort(key=lambda table: -table[1])
    return Sizes(tables, sorted(parts, reverse=True))


def daily_growth(found: Sizes, now: datetime) -> float | None:
    """Bytes a day that the readings grow by: of the last whole month, else of this one so far.

    None where that is too short to tell.
    """
    by_month = {part.first: size for part, size in found.partitions if part.first == part.last}
    this = partitions.month_of(now)
    last = partitions.month_of(partitions.month_start(this) - timedelta(days=1))
    days_so_far = (now - partitions.month_start(this)) / DAY
    if by_month.get(last, 0) > EMPTY:
        return by_month[last] / (
            (partitions.month_start(this) - partitions.month_start(last)) / DAY
        )
    if days_so_far < LEAST_DAYS or by_month.get(this, 0) <= EMPTY:
        return None
    return by_month[this] / days_so_far
