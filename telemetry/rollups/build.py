"""Build the hourly and daily rollups of every key; the only writer of both tables.

An hour is always rebuilt completely from its readings, and a day from its hours. So the result is
the same if the work is repeated, delayed or done in another order, and a crashed worker loses
nothing.

All hours before the rollup watermark are rolled up, except those in the queue telemetry_dirty.
Storing readings adds their past hours to that queue. The queue entry is committed together with
the readings, so a transaction that sees the entry sees the readings too.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from typing import NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Min

from common.timestamps import MIN_TIMESTAMP
from devices.models import Device
from telemetry.models import HourRollup, Telemetry
from telemetry.retention import rules as retention
from telemetry.retention.rules import Cutoffs
from telemetry.rollups.sql import BUILD_DAYS_SQL, BUILD_HOURS_SQL, REGISTER_KEYS_SQL

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOSE_DELAY = timedelta(minutes=10)
"""How long after its end an hour is rolled up. Readings that arrive more than 5 minutes after the
end are queued; the rest of the delay is for transactions that are not committed yet."""
BATCH_SIZE = 1000
"""Number of hours that are built, and of queue entries that are taken, in one transaction."""
ADVISORY_LOCK = 0x7E1E_0002
"""Only one transaction at a time writes rollups. Otherwise, of two that build the same hour, the
one that saw fewer readings could write last."""


class AvailableFrom(NamedTuple):
    """From when on the rows of a device are complete; retention has deleted older ones."""

    raw: datetime = MIN_TIMESTAMP
    hours: datetime = MIN_TIMESTAMP

    @classmethod
    def for_device(cls, device: Device) -> Self:
        """Return the retention watermarks of a device."""
        watermark = retention.get_watermark(device)
        return cls(watermark.raw or MIN_TIMESTAMP, watermark.hour or MIN_TIMESTAMP)


ALL_AVAILABLE = AvailableFrom()
NO_CUTOFFS = Cutoffs()


def floor(time: datetime, unit: timedelta) -> datetime:
    """Return the start of the hour or day (UTC) that contains an instant."""
    return time - (time - EPOCH) % unit


def get_rollup_watermark() -> datetime:
    """Return the hour before which all hours are rolled up. Later hours have only readings."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM telemetry_rolled_until")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def roll_up_closed_hours(now: datetime, *, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Roll up every hour that has closed since the last call, and return their number.

    The watermark advances after each day of hours. So a worker that was off for weeks keeps most of
    its work if it is stopped. The watermark may advance in another transaction than the rollups,
    because readings that arrive in between are queued. Once `should_stop` returns True, no further
    batch is built; the next call starts with the day that was not finished. Hours without readings
    are skipped, so a silent device costs one index look-up.
    """
    start = watermark = get_rollup_watermark()
    closed = floor(now - CLOSE_DELAY, HOUR)
    while watermark < closed:
        until = min(watermark + DAY, closed)
        for hours in _batches(_with_readings(watermark, until)):
            if should_stop():
                return max(watermark - start, timedelta(0)) // HOUR
            with _rollup_lock() as cursor:
                _build(cursor, hours)
        _advance_watermark(watermark, until)
        watermark = until
    return max(watermark - start, timedelta(0)) // HOUR


def process_queue(*, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Rebuild the queued hours until the queue is empty or `should_stop` returns True.

    Return the number of queue entries. Hours that are still open are built too; no query reads them
    before they are built again.
    """
    processed = 0
    while not should_stop():
        with _rollup_lock() as cursor:
            cursor.execute(DEQUEUE_SQL, [BATCH_SIZE])
            entries = cursor.fetchall()
            _build(cursor, entries)
        processed += len(entries)
        if len(entries) < BATCH_SIZE:
            break
    return processed


def rebuild(device: Device, start: datetime, end: datetime) -> None:
    """Rebuild these hours of a device, and register the keys of its readings that are missing.

    Both instants must be whole hours. All hours are built in one transaction, so pass at most a
    day.
    """
    params = {
        "device": device.pk,
        "start": start,
        "end": end,
        "most": settings.KEYS_PER_DEVICE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # The same lock as in registry._register, held only for the registration.
        cursor.execute("SELECT FROM devices WHERE id = %s FOR NO KEY UPDATE", [device.pk])
        cursor.execute(REGISTER_KEYS_SQL, params)
    with _rollup_lock() as cursor:
        _build(cursor, product([device.pk], hours_between(start, end)))


def hours_between(start: datetime, end: datetime) -> list[datetime]:
    """Return the hours from `start` to before `end`, both whole hours."""
    return [start + number * HOUR for number in range((end - start) // HOUR)]


def covered_span(device: Device) -> tuple[datetime, datetime]:
    """Return the span from the first day with a reading or an hour to the rollup watermark.

    A device without readings and hours has an empty span.
    """
    until = get_rollup_watermark()
    firsts = [
        Telemetry.objects.filter(device=device).aggregate(first=Min("recorded_at"))["first"],
        HourRollup.objects.filter(device=device).aggregate(first=Min("bucket"))["first"],
    ]
    return min((floor(first, DAY) for first in firsts if first), default=until), until


@contextmanager
def _rollup_lock() -> Iterator[CursorWrapper]:
    """Open a transaction with the rollup lock; wait for the lock without a timeout."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        yield cursor


def _build(cursor: CursorWrapper, hours: Iterable[tuple[UUID, datetime]]) -> None:
    """Rebuild these hours of these devices, then the days that contain them.

    Skip hours whose readings retention has deleted, and days whose hours it has deleted.
    """
    requested = set(hours)
    if not requested:
        return
    ids = list({device for device, _ in requested})
    watermarks = retention.get_watermarks(ids)
    # The lock that a foreign key would take, before any write: the devices stay until the commit.
    cursor.execute(LOCK_ACTIVE_DEVICES, [ids])
    active = {device for (device,) in cursor.fetchall()}
    complete_hours = {
        (device, hour)
        for device, hour in requested
        if device in active and hour >= (watermarks.get(device, NO_CUTOFFS).raw or MIN_TIMESTAMP)
    }
    complete_days = {
        (device, day)
        for device, day in {(device, floor(hour, DAY)) for device, hour in complete_hours}
        if day >= (watermarks.get(device, NO_CUTOFFS).hour or MIN_TIMESTAMP)
    }
    for statement, buckets in ((BUILD_HOURS_SQL, complete_hours), (BUILD_DAYS_SQL, complete_days)):
        columns = zip(*sorted(buckets), strict=True)
        devices, starts = map(list, columns) if buckets else ([], [])
        cursor.execute(statement, {"devices": devices, "buckets": starts})


def _advance_watermark(start: datetime, end: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_rolled_until SET hour = %s WHERE hour = %s", [end, start])


def _with_readings(start: datetime, end: datetime) -> Iterator[tuple[UUID, datetime]]:
    """Yield every hour in this span in which an active device has readings, by device."""
    active = Device.objects.filter(deleted_at=None).order_by("pk")
    devices = list(active.values_list("pk", flat=True))
    for offset in range(0, len(devices), BATCH_SIZE):
        batch = devices[offset : offset + BATCH_SIZE]
        with connection.cursor() as cursor:
            cursor.execute(HOURS_WITH_READINGS, {"devices": batch, "start": start, "end": end})
            yield from cursor.fetchall()


def _batches(hours: Iterator[tuple[UUID, datetime]]) -> Iterator[list[tuple[UUID, datetime]]]:
    while batch := list(islice(hours, BATCH_SIZE)):
        yield batch


LOCK_ACTIVE_DEVICES = """
    SELECT id FROM devices WHERE id = ANY (%s) AND deleted_at IS NULL ORDER BY id FOR KEY SHARE
"""
# LIMIT 1 makes the planner look up each device instead of joining all readings. ORDER BY makes it
# use the index: a table scan looks cheap to the planner, but is slow if there are no readings.
HOURS_WITH_READINGS = """
    SELECT device_id, hour FROM unnest(%(devices)s::uuid[]) AS device(device_id)
    CROSS JOIN LATERAL (
        SELECT FROM telemetry WHERE device_id = device.device_id
            AND recorded_at >= %(start)s AND recorded_at < %(end)s
        ORDER BY recorded_at LIMIT 1
    ) AS in_span
    CROSS JOIN LATERAL generate_series(
        %(start)s, %(end)s - interval '1 hour', interval '1 hour'
    ) AS hour
    CROSS JOIN LATERAL (
        SELECT FROM telemetry WHERE device_id = device.device_id
            AND recorded_at >= %(start)s AND recorded_at < %(end)s
            AND recorded_at >= hour AND recorded_at < hour + interval '1 hour'
        ORDER BY recorded_at LIMIT 1
    ) AS in_hour
    ORDER BY device_id, hour
"""
DEQUEUE_SQL = """
    DELETE FROM telemetry_dirty
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM telemetry_dirty LIMIT %s)) RETURNING device_id, hour
"""
