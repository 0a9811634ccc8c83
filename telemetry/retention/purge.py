"""Delete rows in batches that commit one by one, while devices go on sending.

A batch finds its rows by the table's key. After an interruption between two batches the data is
consistent, and the next call continues. If two processes delete the same rows, one waits for the
other.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from common.timestamps import MIN_TIMESTAMP
from devices import services as device_services
from devices.models import Device
from telemetry.models import Purge

logger = logging.getLogger(__name__)

BATCH_SIZE = 10_000
LOG_INTERVAL = 1_000_000
"""Number of deleted rows of a device between two log lines."""
MAX_TIME = datetime(9999, 12, 31, tzinfo=UTC)
START_SQL = """
    INSERT INTO telemetry_purges (device_id, expected, gone, started_at)
    SELECT id, coalesce((
        SELECT sum(most) FROM (
            SELECT max(total) AS most FROM (
                SELECT telemetry_type, key, sum(count) AS total FROM telemetry_days
                WHERE device_id = %s GROUP BY telemetry_type, key
            ) of_key GROUP BY telemetry_type
        ) of_type
    ), 0), 0, now() FROM devices WHERE id = %s AND deleted_at IS NOT NULL
    ON CONFLICT DO NOTHING
"""
"""The expected readings of a type are the values of its most frequent key in the daily rollups."""
SIDE_TABLES = ("telemetry_hours", "telemetry_days", "telemetry_keys", "telemetry_deliveries")
"""Other tables that may have many rows of one device."""


class DeletedCounts(NamedTuple):
    """The number of rows that one batch has deleted."""

    table: str
    rows: int


def purge_deleted(*, should_stop: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Delete every decommissioned device with all its rows, and return the counts by table.

    Return after the current batch once `should_stop` returns True; the next call deletes the rest.
    """
    deleted: Counter[str] = Counter()
    for device in Device.objects.exclude(deleted_at=None).order_by("deleted_at"):
        if should_stop():
            break
        for table, rows in purge_device(device):
            deleted[table] += rows
            if should_stop():
                return deleted
    return deleted


def purge_device(device: Device) -> Iterator[DeletedCounts]:
    """Delete all rows of a decommissioned device, then the device; yield after each batch."""
    deleted: Counter[str] = Counter()
    _start(device)
    for batch in _all_of(device):
        before = deleted.total()
        deleted[batch.table] += batch.rows
        if batch.table == "telemetry":
            Purge.objects.filter(device=device).update(gone=F("gone") + batch.rows)
        if before // LOG_INTERVAL < deleted.total() // LOG_INTERVAL:
            logger.info("purging device %s, %d rows so far", device.pk, deleted.total())
        yield batch
    try:
        device_services.hard_delete(device)
    except IntegrityError:
        # A request that began before the device was deleted has stored rows since.
        logger.warning(
            "device %s got new rows during the purge and is kept until the next purge", device.pk
        )
    else:
        logger.info("purged device %s: %s", device.pk, dict(deleted))


def in_progress(limit: int) -> tuple[int, list[Device]]:
    """Return the number of devices that are not purged yet, and the first `limit` of them.

    A device whose purge has begun has its `purge` loaded.
    """
    decommissioned = Device.objects.exclude(deleted_at=None)
    first = decommissioned.select_related("user", "purge").order_by("deleted_at", "pk")[:limit]
    return decommissioned.count(), list(first)


def delete_readings(device_id: UUID, *, before: datetime = MAX_TIME) -> Iterator[DeletedCounts]:
    """Delete a device's readings before an instant, the oldest first."""
    start: datetime | None = MIN_TIMESTAMP
    while start:
        rows, start = _delete_readings(device_id, start, before)
        if rows:
            yield DeletedCounts("telemetry", rows)


def delete_rollups(table: str, device_id: UUID, *, before: datetime) -> Iterator[DeletedCounts]:
    """Delete a device's hourly or daily rollups before an instant."""
    while rows := _delete(table, device_id, "bucket < %s", before):
        yield DeletedCounts(table, rows)


def _start(device: Device) -> None:
    """Record the number of readings to delete, unless an earlier call has done so."""
    with connection.cursor() as cursor:
        cursor.execute(START_SQL, [device.pk, device.pk])


def _all_of(device: Device) -> Iterator[DeletedCounts]:
    yield from delete_readings(device.pk)
    for table in SIDE_TABLES:
        while rows := _delete(table, device.pk):
            yield DeletedCounts(table, rows)


def _delete_readings(
    device_id: UUID, start: datetime, before: datetime
) -> tuple[int, datetime | None]:
    """Delete a batch from `start` on; return its size and the start of the next batch."""
    span: dict[str, Any] = {"device": device_id, "start": start, "before": before}
    with transaction.atomic(), connection.cursor() as cursor:
        # Without statistics of the device, the planner would sort all remaining rows.
        cursor.execute("SELECT set_config('enable_sort', 'off', true)")
        cursor.execute(
            """
            SELECT recorded_at, id FROM telemetry
            WHERE device_id = %(device)s AND recorded_at >= %(start)s AND recorded_at < %(before)s
            ORDER BY recorded_at, id OFFSET %(rows)s LIMIT 1
            """,
            {**span, "rows": BATCH_SIZE - 1},
        )
        last = cursor.fetchone()
        if last is None:
            cursor.execute(
                """
                DELETE FROM telemetry WHERE device_id = %(device)s
                    AND recorded_at >= %(start)s AND recorded_at < %(before)s
                """,
                span,
            )
            return cursor.rowcount, None
        # The conditions on recorded_at alone let the planner skip the other partitions.
        cursor.execute(
            """
            DELETE FROM telemetry WHERE device_id = %(device)s
                AND recorded_at >= %(start)s AND recorded_at <= %(time)s
                AND (recorded_at, id) <= (%(time)s, %(id)s)
            """,
            {**span, "time": last[0], "id": last[1]},
        )
        return cursor.rowcount, last[0]


def _delete(table: str, device_id: UUID, condition: str = "true", *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            DELETE FROM {table} WHERE ctid = ANY (ARRAY (
                SELECT ctid FROM {table} WHERE device_id = %s AND {condition} LIMIT %s
            ))
            """,  # noqa: S608 - built from constants only
            [device_id, *values, BATCH_SIZE],
        )
        return int(cursor.rowcount)
