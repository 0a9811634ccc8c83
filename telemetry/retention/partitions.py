"""The partitions of the telemetry table.

The current and the previous year are partitioned by month, older years by year. So a device that
sends readings from many old months creates few partitions (docs/decisions/0047). A month partition
remains when its year becomes older; the rest of that year then gets partitions for the gaps.
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
"""The current calendar year and the previous one; older years are partitioned by year."""
MONTHS_AHEAD = 3
ADVISORY_LOCK = 0x7E1E_0001
"""Only one process at a time creates partitions."""
DROP_LOCK_TIMEOUT = "100ms"
"""How long a drop waits for a lock, which blocks inserts; also how long it may search for readings
while it holds the lock.
"""
VACUUM_LOCK_TIMEOUT = "3s"
"""How long a drop waits for a vacuum of the partition. This wait blocks no other request.
PostgreSQL cancels an automatic vacuum after a second (deadlock_timeout).
"""
RETRY_DELAYS_SECONDS = (0.5, 1, 2, 4, 8, 16, 32)
"""Delays between attempts to drop a partition; their sum is longer than any request may take."""


class Partition(NamedTuple):
    """A range of whole months (UTC): `first` is its first day, `after` the first day after it."""

    first: date
    after: date

    @property
    def last(self) -> date:
        """Return the first day of the last month."""
        return (self.after - timedelta(days=1)).replace(day=1)

    @property
    def is_year(self) -> bool:
        """Return whether the partition is one calendar year."""
        return self.first.month == 1 and self.after == date(self.first.year + 1, 1, 1)

    @property
    def name(self) -> str:
        """Return the name of the table."""
        name = f"telemetry_{self.first:%Y_%m}"
        return name if self.first == self.last else f"{name}_to_{self.last:%Y_%m}"

    @property
    def start(self) -> datetime:
        """Return the first instant."""
        return month_start(self.first)

    @property
    def end(self) -> datetime:
        """Return the first instant after the partition."""
        return month_start(self.after)


def month_of(time: datetime) -> date:
    """Return the first day of the UTC month that contains an instant."""
    return time.astimezone(UTC).date().replace(day=1)


def month_after(month: date) -> date:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def month_start(month: date) -> datetime:
    """Return the first instant of a month."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def ensure(months: Iterable[date], *, now: datetime) -> list[Partition]:
    """Create the missing partitions for these months and return them.

    A partition is created as a table and then attached, because PARTITION OF would need a stronger
    lock. There is no default partition: with one, PostgreSQL could not read the newest readings in
    order.
    """
    created = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        existing = list_months()
        for month in sorted(set(months)):
            if any(partition.first <= month < partition.after for partition in existing):
                continue
            partition = _missing(month, existing, now)
            cursor.execute(_definition(partition))
            existing.append(partition)
            created.append(partition)
            logger.debug("created the partition %s", partition.name)
    return created


def ensure_ahead(now: datetime) -> list[Partition]:
    """Create the partitions of this month and the next ones ahead of time."""
    return ensure(_ahead(now), now=now)


def list_months() -> list[Partition]:
    """Return the existing partitions in order."""
    with connection.cursor() as cursor:
        # The bounds of a partition are NULL if another transaction has just dropped it.
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
    """Drop the partitions without readings and return them; keep this month and the next ones.

    Stop at the first partition that cannot be dropped; the next night tries the rest.
    """
    ahead = _ahead(now)
    dropped = []
    for partition in list_months():
        if partition.after > ahead[0] and partition.first <= ahead[-1]:
            continue
        is_empty = partial(_is_empty, partition)
        if is_empty():
            if not drop(partition, confirm=is_empty):
                break
            dropped.append(partition)
    return dropped


def drop(partition: Partition, *, confirm: Callable[[], bool]) -> bool:
    """Drop a partition with all its readings and return whether it was dropped.

    `confirm` is called while the table is locked and nothing can be stored; False cancels the drop.
    The wait for a lock is short, because inserts queue behind a request for an exclusive lock. A
    partition that stays in use is tried again the next night.
    """
    for delay in (*RETRY_DELAYS_SECONDS, None):
        try:
            return _drop(partition.name, confirm)
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
        if delay:
            sleep(delay)
    logger.warning(
        "the partition %s was in use at every attempt and was not dropped", partition.name
    )
    return False


def _ahead(now: datetime) -> list[date]:
    """Return this month and the next ones."""
    months = [month_of(now)]
    for _ in range(MONTHS_AHEAD):
        months.append(month_after(months[-1]))
    return months


def _missing(month: date, existing: list[Partition], now: datetime) -> Partition:
    """Return the partition to create for a month that no existing partition contains."""
    if month.year > now.astimezone(UTC).year - YEARS_BY_MONTH:
        return Partition(month, month_after(month))
    ends_before = [partition.after for partition in existing if partition.after <= month]
    starts_after = [partition.first for partition in existing if partition.first > month]
    return Partition(
        max([date(month.year, 1, 1), *ends_before]),
        min([date(month.year + 1, 1, 1), *starts_after]),
    )


def _is_empty(partition: Partition) -> bool:
    """Return whether a partition has no readings.

    Return False if the search takes longer than DROP_LOCK_TIMEOUT, which happens when the deleted
    rows of a purged device are not vacuumed yet.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [DROP_LOCK_TIMEOUT])
            cursor.execute(
                "SELECT EXISTS (SELECT FROM telemetry"
                " WHERE recorded_at >= %s AND recorded_at < %s)",
                [partition.start, partition.end],
            )
            (has_readings,) = cursor.fetchone()
            # The rollback resets the timeout, also inside an outer transaction.
            transaction.set_rollback(True)
    except OperationalError as error:
        if not isinstance(error.__cause__, errors.QueryCanceled):
            raise
        return False
    return not has_readings


def _drop(name: str, confirm: Callable[[], bool]) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            # DROP_LOCK_TIMEOUT is too short for a vacuum to be cancelled. This lock waits for the
            # vacuum and blocks neither reads nor writes.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [VACUUM_LOCK_TIMEOUT])
            cursor.execute(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [DROP_LOCK_TIMEOUT])
        # Lock the table before its partition, as inserts and queries do, to avoid a deadlock.
        cursor.execute("LOCK TABLE ONLY telemetry IN ACCESS EXCLUSIVE MODE")
        if not confirm():
            return False
        # Another process may have dropped it already.
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
    """  # noqa: S608 - built from two dates
