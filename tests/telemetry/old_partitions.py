"""Partitions that a test created and committed."""

from datetime import UTC, date, datetime

from telemetry.retention import partitions

LONG_AGO = date(2010, 1, 1)


def drop_old_partitions():
    """Drop the partitions of years in which only such tests store readings."""
    for partition in partitions.list_months():
        if partition.first < LONG_AGO:
            assert partitions.drop(partition, confirm=lambda: True)


def months_since_2000(until):
    """Return noon of the first day of each month."""
    return [
        datetime(year, month, 1, 12, tzinfo=UTC)
        for year in range(2000, until.year + 1)
        for month in range(1, 13)
        if (year, month) <= (until.year, until.month)
    ]
