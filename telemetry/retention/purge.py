"""How rows leave: in batches that commit one by one, while others go on sending.

A batch finds its rows by the table's key. What is interrupted between two batches is whole, and
is gone on with by whoever comes next. Of two who remove the same rows one waits for the other.
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

BATCH = 10_000
PROGRESS = 1_000_000
"""Rows of one device between lines of the log."""
EVER = datetime(9999, 12, 31, tzinfo=UTC)
BEGIN = """
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
"""Of each type as many readings are expected as its most frequent key has values in the days."""
SIDE_TABLES = ("telemetry_hours", "telemetry_days", "telemetry_keys", "telemetry_deliveries")
"""What else may hold many rows of one device."""


class DeletedCounts(NamedTuple):
    """Rows that one batch has removed."""

    table: str
    rows: int


def purge_deleted(*, should_stop: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Remove every decommissioned device with all that is its, and count the rows by table.

    Returns after the current batch once `should_stop` is true; the next call removes the rest.
    """
    gone: Counter[str] = Counter()
    for device in Device.objects.exclude(deleted_at=None).order_by("deleted_at"):
        if should_stop():
            break
        for table, rows in purge(device):
            gone[table] += rows
            if should_stop():
                return gone
    return gone


def purge(device: Device) -> Iterator[DeletedCounts]:
    """Remove all rows of a decommissioned device, then itself, halting after each batch."""
    gone: Counter[str] = Counter()
    _start(device)
    for batch in _all_of(device):
        before = gone.total()
        gone[batch.table] += batch.rows
        if batch.table == "telemetry":
            Purge.objects.filter(device=device).update(gone=F("gone") + batch.rows)
        if before // PROGRESS < gone.total() // PROGRESS:
            logger.info("purging device %s, %d rows so far", device.pk, gone.total())
        yield batch
    try:
        device_services.hard_delete(device)
    except IntegrityError:
        # A request that was under way when the device was deleted has stored something yet.
        logger.warning("device %s got new rows while it was purged, and stays for now", device.pk)
    else:
        logger.info("purged device %s: %s", device.pk, dict(gone))


def in_progress(limit: int) -> tuple[int, list[Device]]:
    """How many devices are still to be purged, and the first of them, each with its `purge` where
    that has begun.
    """
    leaving = Device.objects.exclude(deleted_at=None)
    first = leaving.select_related("user", "purge").order_by("deleted_at", "pk")[:limit]
    return leaving.count(), list(first)


def readings(device_id: UUID, *, before: datetime = EVER) -> Iterator[DeletedCounts]:
    """Remove a device's readings from before an instant, the oldest first."""
    start: datetime | None = MIN_TIMESTAMP
    while start:
        rows, start = _delete_readings(device_id, start, before)
        if rows:
            yield DeletedCounts("telemetry", rows)


def rollups(table: str, device_id: UUID, *, before: datetime) -> Iterator[DeletedCounts]:
    """Remove a device's hours or days from before an instant."""
    while rows := _delete(table, device_id, "bucket < %s", before):
        yield DeletedCounts(table, rows)


def _start(device: Device) -> None:
    """Note what there is to do, once, however often it is interrupted."""
    with connection.cursor() as cursor:
        cursor.execute(BEGIN, [device.pk, device.pk])


def _all_of(device: Device) -> Iterator[DeletedCounts]:
    yield from readings(device.pk)
    for table in SIDE_TABLES:
        while rows := _delete(table, device.pk):
            yield DeletedCounts(table, rows)


def _delete_readings(
    device_id: UUID, start: datetime, before: datetime
) -> tuple[int, datetime | None]:
    """Remove a batch from `start` on; returns its size, and where the next one starts."""
    span: dict[str, Any] = {
        "device": device_id,
        "start": start,
        "before": before,
        "rows": BATCH - 1,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # For a device that it has no statistics of, the planner would sort all that is left.
        cursor.execute("SELECT set_config('enable_sort', 'off', true)")
        cursor.execute(
            """
            SELECT recorded_at, id FROM telemetry
            WHERE device_id = %(device)s AND recorded_at >= %(start)s AND recorded_at < %(before)s
            ORDER BY recorded_at, id OFFSET %(rows)s LIMIT 1
            """,
            span,
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
        # The bounds on the time alone leave the other months out.
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
            """,  # noqa: S608 - put together of constants
            [device_id, *values, BATCH],
        )
        return int(cursor.rowcount)
