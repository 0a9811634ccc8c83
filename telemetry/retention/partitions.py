"""The partitions of the telemetry table.

This year and the year before it are partitioned by month, older years by year. So a device that
sends readings of many old months makes few partitions (docs/decisions/0047). A month that has been
made stays a month when it grows old; the rest of its year then gets partitions for the gaps.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from time import sleep
from typing import NamedTuple

from django.db import OperationalError, connection, transaction
from psycopg import errors

logger = logging.getLogger(__name__)

YEARS_BY_MONTH = 2
"""This calendar year and the one before it; what is older is partitioned by year."""
MONTHS_AHEAD = 3
LOCK = 0x7E1E_0001
"""The advisory lock under which partitions are made, one process at a time."""
DROP_LOCK_TIMEOUT = "100ms"
"""How long a drop waits for a lock, and so keeps the next sender waiting; and how long it may look
for readings while it holds the lock.
"""
VACUUM_PATIENCE = "3s"
"""How long a drop waits for a vacuum of the partition, which nobody else waits for. An automatic
one is told to end after a second (deadlock_timeout).
"""
PAUSES = (0.5, 1, 2, 4, 8, 16, 32)
"""Seconds between tries to drop a partition; together longer than any request may take."""


class Partition(NamedTuple):
    """Whole months (UTC) that are stored together: from `first` to before `after`, both the first
    day of a month.
    """

    first: date
    after: date

    @property
    def last(self) -> date:
        """The first day of the last month."""
        return (self.after - timedelta(days=1)).replace(day=1)

    @property
    def is_year(self) -> bool:
        """Whether it is one calendar year."""
        return self.first.month == 1 and self.after == date(self.first.year + 1, 1, 1)

    @property
    def name(self) -> str:
        """The name of the table."""
        name = f"telemetry_{self.first:%Y_%m}"
        return name if self.first == self.last else f"{name}_to_{self.last:%Y_%m}"

    @property
    def start(self) -> datetime:
        """The first instant."""
        return month_start(self.first)

    @property
    def end(self) -> datetime:
        """The first instant after it."""
        return month_start(self.after)


def month_of(time: datetime) -> date:
    """The first day of the UTC month an instant falls into."""
    return time.astimezone(UTC).date().replace(day=1)


def month_after(month: date) -> date:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def month_start(month: date) -> datetime:
    """The first instant of a month."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def ensure(months: Iterable[date], *, now: datetime) -> list[Partition]:
    """Make the partitions that are missing for these months, and return those.

    Built aside and then attached, which locks the table less than PARTITION OF would. There is
    no default partition: the newest readings could then no longer be read in order.
    """
    made = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        there = list_months()
        for month in sorted(set(months)):
            if any(one.first <= month < one.after for one in there):
                continue
            partition = _missing(month, there, now)
            cursor.execute(_definition(partition))
            there.append(partition)
            made.append(partition)
            logger.debug("made the partition %s", partition.name)
    return made


def ensure_ahead(now: datetime) -> list[Partition]:
    """Make this month and the next ones, so that midnight on the first is an hour like any."""
    return ensure(_ahead(now), now=now)


def list_months() -> list[Partition]:
    """The partitions that there are, in order."""
    with connection.cursor() as cursor:
        # The bounds are NULL of one that another transaction has just dropped.
        cursor.execute(
            r"""
            SELECT (bounds[1]::timestamptz AT TIME ZONE 'UTC')::date AS first,
                (bounds[2]::timestamptz AT TIME ZONE 'UTC')::date
            FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid CROSS JOIN LATERAL
                regexp_match(pg_get_expr(relpartbound, pg_class.oid), '\(''(.+)''\).+\(''(.+)''\)')
                AS bounds
            WHERE inhparent = 'telemetry'::regclass AND bounds IS NOT NULL ORDER BY first
            """
        )
        return [Partition(*row) for row in cursor.fetchall()]


def drop_empty(now: datetime) -> list[Partition]:
    """Drop the partitions without readings, and return those; this month and the next ones stay.

    Ends at the first one that cannot be dropped: the rest is left for another night.
    """
    ahead = _ahead(now)
    dropped = []
    for partition in list_months():
        if partition.after > ahead[0] and partition.first <= ahead[-1]:
            continue
        is_empty = partial(_is_empty, partition)
        if is_empty():
            if not drop(partition, agreed=is_empty):
                break
            dropped.append(partition)
    return dropped


def drop(partition: Partition, *, agreed: Callable[[], bool]) -> bool:
    """Drop a partition with all that is in it, and return whether that was done.

    `agreed` is asked once nothing more can be stored in it, and has the last word. Whoever reads
    or writes is waited for, but briefly, since senders queue up behind whoever waits for the
    whole table: a partition that stays in use is left for another night.
    """
    for pause in (*PAUSES, None):
        try:
            return _drop(partition.name, agreed)
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
        if pause:
            sleep(pause)
    logger.warning("%s is in use all the time and was not dropped", partition.name)
    return False


def _ahead(now: datetime) -> list[date]:
    """This month and the next ones."""
    months = [month_of(now)]
    for _ in range(MONTHS_AHEAD):
        months.append(month_after(months[-1]))
    return months


def _missing(month: date, there: list[Partition], now: datetime) -> Partition:
    """The partition to make for a month that none of those that are there holds."""
    if month.year > now.astimezone(UTC).year - YEARS_BY_MONTH:
        return Partition(month, month_after(month))
    before = [one.after for one in there if one.after <= month]
    behind = [one.first for one in there if one.first > month]
    return Partition(
        max([date(month.year, 1, 1), *before]), min([date(month.year + 1, 1, 1), *behind])
    )


def _is_empty(partition: Partition) -> bool:
    """Whether no reading is stored in a partition. False if that is not found within PATIENCE:
    the rows of a purged device may not be vacuumed yet.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [DROP_LOCK_TIMEOUT])
            cursor.execute(
                "SELECT EXISTS (SELECT FROM telemetry"
                " WHERE recorded_at >= %s AND recorded_at < %s)",
                [partition.start, partition.end],
            )
            (found,) = cursor.fetchone()
            # So that the timeout ends with the block, even within another transaction.
            transaction.set_rollback(True)
    except OperationalError as error:
        if not isinstance(error.__cause__, errors.QueryCanceled):
            raise
        return False
    return not found


def _drop(name: str, agreed: Callable[[], bool]) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            # A vacuum would not give way within the short patience of the lock that matters; this
            # one keeps neither readers nor writers from the partition.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [VACUUM_PATIENCE])
            cursor.execute(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [DROP_LOCK_TIMEOUT])
        # The table before its part, as everybody takes them.
        cursor.execute("LOCK TABLE ONLY telemetry IN ACCESS EXCLUSIVE MODE")
        if not agreed():
            return False
        # Somebody else may have been first.
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
    logger.info("dropped the partition %s", name)
    return True


def _definition(partition: Partition) -> str:
    name = partition.name
    span = f"FROM ('{partition.first} 00:00:00+00') TO ('{partition.after} 00:00:00+00')"
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
