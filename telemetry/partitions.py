"""The months of the telemetry table."""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from time import sleep

from django.db import OperationalError, connection, transaction
from psycopg import errors

logger = logging.getLogger(__name__)

MONTHS_AHEAD = 3
LOCK = 0x7E1E_0001
"""The advisory lock under which months are made, one process at a time."""
PATIENCE = "100ms"
"""How long a drop waits for a lock, and so keeps the next sender waiting."""
VACUUM_PATIENCE = "3s"
"""How long a drop waits for a vacuum of the month, which nobody else waits for. An automatic one
is told to end after a second (deadlock_timeout).
"""
PAUSES = (0.5, 1, 2, 4, 8, 16, 32)
"""Seconds between tries to drop a month; together longer than any request may take."""


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
            name = _name(month)
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
            if not cursor.fetchone()[0]:
                cursor.execute(_definition(name, month))
                made.append(month)
                logger.debug("made the partition %s", name)
    return made


def starts(month: date) -> datetime:
    """The first instant of a month."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def ensure_ahead(now: datetime) -> list[date]:
    """Make this month and the next ones, so that midnight on the first is an hour like any."""
    months = [month_of(now)]
    for _ in range(MONTHS_AHEAD):
        months.append(month_after(months[-1]))
    return ensure(months)


def existing() -> list[date]:
    """The months that there are, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT to_date(relname, '"telemetry_"YYYY_MM') FROM pg_inherits
            JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'telemetry'::regclass
            ORDER BY relname
            """
        )
        return [month for (month,) in cursor.fetchall()]


def drop(month: date, *, agreed: Callable[[], bool]) -> bool:
    """Drop a month with all that is in it, and return whether that was done.

    `agreed` is asked once nothing more can be stored in it, and has the last word. Whoever reads
    or writes is waited for, but briefly, since senders queue up behind whoever waits for the
    whole table: a month that stays in use is left for another night.
    """
    for pause in (*PAUSES, None):
        try:
            return _drop(_name(month), agreed)
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
        if pause:
            sleep(pause)
    logger.warning("%s is in use all the time and was not dropped", _name(month))
    return False


def _drop(name: str, agreed: Callable[[], bool]) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            # A vacuum would not give way within the short patience of the lock that matters; this
            # one keeps neither readers nor writers from the month.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [VACUUM_PATIENCE])
            cursor.execute(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
        # The table before its part, as everybody takes them.
        cursor.execute("LOCK TABLE ONLY telemetry IN ACCESS EXCLUSIVE MODE")
        if not agreed():
            return False
        # Somebody else may have been first.
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
    logger.info("dropped the partition %s", name)
    return True


def _name(month: date) -> str:
    return f"telemetry_{month:%Y_%m}"


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
