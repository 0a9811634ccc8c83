"""The months of the telemetry table."""

import logging
from collections.abc import Iterable
from datetime import UTC, date, datetime

from django.db import connection, transaction

logger = logging.getLogger(__name__)

MONTHS_AHEAD = 3
LOCK = 0x7E1E_0001
"""The advisory lock under which months are made, one process at a time."""


def month_of(time: datetime) -> date:
    """The first day of the UTC month an instant falls into."""
    return time.astimezone(UTC).date().replace(day=1)


def month_after(month: date) -> date:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def ensure(months: Iterable[date]) -> list[date]:
    """Make the partitions of these months that are missing, and return those.

    Built aside and then attached, which locks the table less than PARTITION OF would. There is
    no default partition: the newest readings could then no longer be read in order.
    """
    made = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        for month in sorted(set(months)):
            name = f"telemetry_{month:%Y_%m}"
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
            if not cursor.fetchone()[0]:
                cursor.execute(_definition(name, month))
                made.append(month)
                logger.debug("made the partition %s", name)
    return made


def ensure_ahead(now: datetime) -> list[date]:
    """Make this month and the next ones, so that midnight on the first is an hour like any."""
    months = [month_of(now)]
    for _ in range(MONTHS_AHEAD):
        months.append(month_after(months[-1]))
    return ensure(months)


def _definition(name: str, month: date) -> str:
    span = f"FROM ('{month} 00:00:00+00') TO ('{month_after(month)} 00:00:00+00')"
    return f"""
        CREATE TABLE {name} (LIKE telemetry INCLUDING ALL);
        CREATE TRIGGER device_exists_on_insert AFTER INSERT ON {name}
            REFERENCING NEW TABLE AS written
            FOR EACH STATEMENT EXECUTE FUNCTION telemetry_device_exists();
        CREATE TRIGGER device_exists_on_update AFTER UPDATE ON {name}
            REFERENCING NEW TABLE AS written
            FOR EACH STATEMENT EXECUTE FUNCTION telemetry_device_exists();
        ALTER TABLE telemetry ATTACH PARTITION {name} FOR VALUES {span};
    """  # noqa: S608 - two dates and a name made of one
