"""Hours and days of every key, made from the readings: the only writer of both tables.

An hour is always made anew and whole from its readings, and a day from its hours. So whatever is
done twice, late or in another order comes to the same; a worker that dies has lost nothing.

What is read, whole and in order: the hours before `rolled_until` are rolled up, but for those in
the queue telemetry_dirty, in which storing readings marks the past hours that got any. A mark is
committed with its readings: who sees it sees them too.
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
from telemetry.rollups.sql import MAKE_DAYS, MAKE_HOURS, REGISTER

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOSE_DELAY = timedelta(minutes=10)
"""How long after its end an hour is rolled up. Readings that come 5 minutes after it are marked;
the rest is for those that were on their way into the table just then."""
BATCH = 1000
"""Hours of a device that are made, and marks that are taken, in one transaction."""
LOCK = 0x7E1E_0002
"""The advisory lock under which rollups are written: of two who made the same hour at once, the
one that read less could write last."""


class AvailableFrom(NamedTuple):
    """The instants from which on all of a device is there; retention dropped what was before."""

    raw: datetime = MIN_TIMESTAMP
    hours: datetime = MIN_TIMESTAMP

    @classmethod
    def of(cls, device: Device) -> Self:
        """As retention says."""
        gone = retention.get_watermark(device)
        return cls(gone.raw or MIN_TIMESTAMP, gone.hour or MIN_TIMESTAMP)


ALL_AVAILABLE = AvailableFrom()
NO_CUTOFFS = Cutoffs()


def floor(time: datetime, unit: timedelta) -> datetime:
    """The beginning of the hour or day (UTC) that an instant is in."""
    return time - (time - EPOCH) % unit


def get_rollup_watermark() -> datetime:
    """All hours before this one are rolled up; readings from here on are read as they are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT hour FROM telemetry_rolled_until")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def roll_up_closed_hours(now: datetime, *, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Roll up every hour that has closed since the last time, and count them.

    At most a day of them before `rolled_until` moves on, so a worker that was away for weeks and
    is stopped again has not worked in vain. It need not move in the transaction that makes the
    hours: readings that come in between are marked. Once `should_stop` is true no further batch is
    made; the next call begins with the day that was not completed. Hours in which a device has no
    readings are left out, so a silent device costs one look into the index.
    """
    start = rolled = get_rollup_watermark()
    closed = floor(now - CLOSE_DELAY, HOUR)
    while rolled < closed:
        until = min(rolled + DAY, closed)
        for hours in _batches(_with_readings(rolled, until)):
            if should_stop():
                return max(rolled - start, timedelta(0)) // HOUR
            with _rollup_lock() as cursor:
                _build(cursor, hours)
        _advance_watermark(rolled, until)
        rolled = until
    return max(rolled - start, timedelta(0)) // HOUR


def process_queue(*, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Make the marked hours anew until no mark is left or `should_stop` is true; count the marks.

    Hours that are still open are made too: nobody reads them before they are made once more.
    """
    drained = 0
    while not should_stop():
        with _rollup_lock() as cursor:
            cursor.execute(DEQUEUE_SQL, [BATCH])
            marks = cursor.fetchall()
            _build(cursor, marks)
        drained += len(marks)
        if len(marks) < BATCH:
            break
    return drained


def rebuild(device: Device, start: datetime, end: datetime) -> None:
    """Make these hours of a device anew, and register keys that its readings have beside those.

    Both instants are whole hours. The hours are made in one transaction: give it a day at a time.
    """
    arguments = {
        "device": device.pk,
        "start": start,
        "end": end,
        "most": settings.KEYS_PER_DEVICE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # As storing readings registers keys, and no longer than that takes.
        cursor.execute("SELECT FROM devices WHERE id = %s FOR NO KEY UPDATE", [device.pk])
        cursor.execute(REGISTER, arguments)
    with _rollup_lock() as cursor:
        _build(cursor, product([device.pk], hours_between(start, end)))


def hours_between(start: datetime, end: datetime) -> list[datetime]:
    """The hours from one whole hour to before another."""
    return [start + number * HOUR for number in range((end - start) // HOUR)]


def covered_span(device: Device) -> tuple[datetime, datetime]:
    """From the first day that a device has a reading or an hour of to where hours are rolled up;
    a span that ends where it begins when it has none.
    """
    until = get_rollup_watermark()
    firsts = [
        Telemetry.objects.filter(device=device).aggregate(first=Min("recorded_at"))["first"],
        HourRollup.objects.filter(device=device).aggregate(first=Min("bucket"))["first"],
    ]
    return min((floor(first, DAY) for first in firsts if first), default=until), until


@contextmanager
def _rollup_lock() -> Iterator[CursorWrapper]:
    """A transaction in which nobody else writes rollups; it waits its turn however long."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield cursor


def _build(cursor: CursorWrapper, hours: Iterable[tuple[UUID, datetime]]) -> None:
    """Make these hours of these devices anew, then the days they are in.

    Left alone are hours whose readings retention has dropped, and days whose hours it has.
    """
    asked = set(hours)
    if not asked:
        return
    ids = list({device for device, _ in asked})
    gone = retention.get_watermarks(ids)
    # Locked as a foreign key would, and before anything is written: they stay until the commit.
    cursor.execute(LIVE_DEVICES, [ids])
    live = {device for (device,) in cursor.fetchall()}
    whole = {
        (device, hour)
        for device, hour in asked
        if device in live and hour >= (gone.get(device, NO_CUTOFFS).raw or MIN_TIMESTAMP)
    }
    days = {
        (device, day)
        for device, day in {(device, floor(hour, DAY)) for device, hour in whole}
        if day >= (gone.get(device, NO_CUTOFFS).hour or MIN_TIMESTAMP)
    }
    for statement, buckets in ((MAKE_HOURS, whole), (MAKE_DAYS, days)):
        columns = zip(*sorted(buckets), strict=True)
        devices, beginnings = map(list, columns) if buckets else ([], [])
        cursor.execute(statement, {"devices": devices, "buckets": beginnings})


def _advance_watermark(start: datetime, end: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_rolled_until SET hour = %s WHERE hour = %s", [end, start])


def _with_readings(start: datetime, end: datetime) -> Iterator[tuple[UUID, datetime]]:
    """Every hour between two whole hours in which a living device has readings, by device."""
    living = Device.objects.filter(deleted_at=None).order_by("pk")
    devices = list(living.values_list("pk", flat=True))
    for begin in range(0, len(devices), BATCH):
        some = devices[begin : begin + BATCH]
        with connection.cursor() as cursor:
            cursor.execute(WITH_READINGS, {"devices": some, "start": start, "end": end})
            yield from cursor.fetchall()


def _batches(hours: Iterator[tuple[UUID, datetime]]) -> Iterator[list[tuple[UUID, datetime]]]:
    while batch := list(islice(hours, BATCH)):
        yield batch


LIVE_DEVICES = """
    SELECT id FROM devices WHERE id = ANY (%s) AND deleted_at IS NULL ORDER BY id FOR KEY SHARE
"""
# LIMIT 1 has each device looked up by itself, instead of a join with all readings; ORDER BY has it
# looked up in the index: a scan of the table looks cheap, but ends early only with a reading.
WITH_READINGS = """
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
