"""Store readings in the telemetry table; purge.py deletes them.

A small batch is stored by one INSERT that skips readings already stored. For a large batch the
stored ids are looked up first and the new readings are sent with COPY, which costs PostgreSQL half
as much (docs/decisions/0014). Both write the rows in the order of the table's key, and lock the
device (if at all) before the rows: two requests cannot deadlock.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from django.db import Error, connection, transaction
from psycopg import errors

from common import quotas
from devices import events
from devices.authentication import active_token_query
from devices.models import Device, pending_commands_query
from devices.presence import MARK_SEEN, mark_seen_params
from telemetry.ingest import pg_binary
from telemetry.ingest.validation import EPOCH, ParsedReading, microseconds_of
from telemetry.keys import registry as keys
from telemetry.retention import partitions

COPY_THRESHOLD = 250
"""Number of readings from which COPY is faster than INSERT."""
CHUNK = 250
"""Number of readings per chunk; one chunk is encoded while PostgreSQL stores the previous one."""
LATE_GRACE = timedelta(minutes=5)
"""Readings that arrive this long after the end of their hour do not queue it: the worker rolls an
hour up later than that (rollups.build.CLOSE_DELAY)."""
MAX_LOOKUP_RATIO = 4
"""How many ids may be looked up per reading in the batch."""
MAX_ATTEMPTS = 5

SINGLE_ROW_SQL = (
    "(VALUES (%(id)s::uuid, %(type)s::text, %(payload)s::jsonb, %(time)s::timestamptz))"
)
UNNEST_SQL = (
    "unnest(%(id)s::uuid[], %(type)s::text[], %(payload)s::jsonb[], %(time)s::timestamptz[])"
)
LOCK = "SELECT FROM devices WHERE id = %(device)s FOR NO KEY UPDATE"
IDS = """
    SELECT uuid_send(id) FROM telemetry
    WHERE device_id = %(device)s AND recorded_at BETWEEN %(first)s AND %(last)s
    LIMIT %(most)s
"""
COPY = """
    COPY telemetry (id, device_id, telemetry_type, payload, recorded_at, created_at)
    FROM STDIN (FORMAT binary)
"""
ROLLED_UP = "GREATEST(%(open)s, (SELECT hour FROM telemetry_rolled_until))"
"""Readings before this hour are late. The greater value counts: the clock may have been ahead when
the watermark was written."""
QUEUE_SQL = f"""
    INSERT INTO telemetry_dirty (device_id, hour)
    SELECT %(device)s, hour FROM unnest(%(hours)s::timestamptz[]) AS hour WHERE hour < {ROLLED_UP}
"""  # noqa: S608 - built from constants only
MICROSECONDS_IN_HOUR = 3_600_000_000


class DeviceDeleted(Exception):
    """The device was deleted during the request."""


class StoreResult(NamedTuple):
    """How many readings of a batch were new and how many were already stored."""

    accepted: int
    duplicates: int
    pending_commands: int = 0
    """Number of commands that are pending for the device."""


def store(
    device: Device, readings: Sequence[ParsedReading], *, now: datetime, contact: bool = True
) -> StoreResult:
    """Store the readings that are not stored yet and return after the commit.

    With `contact`, mark the device as seen; an import of old readings passes False.
    Raises DeviceDeleted, quotas.DiskFull.
    """
    quotas.check_disk()
    keys.register_keys(
        device,
        [(reading.telemetry_type, reading.keys(), reading.recorded_at) for reading in readings],
    )
    copy = len(readings) >= COPY_THRESHOLD
    for attempts_left in reversed(range(MAX_ATTEMPTS)):
        try:
            write = _copy if copy else _insert
            stored = write(device, readings, now, contact)
        except Error as error:
            match error.__cause__:
                case errors.ForeignKeyViolation():
                    raise DeviceDeleted from error
                # The partition for a reading is missing. This is rare, so there is no check before.
                case errors.CheckViolation() if attempts_left:
                    partitions.ensure(
                        (partitions.month_of(reading.recorded_at) for reading in readings), now=now
                    )
                # Another request has stored the same reading since the look-up.
                case errors.UniqueViolation() if attempts_left:
                    copy = False
                case errors.DeadlockDetected() | errors.SerializationFailure() if attempts_left:
                    pass
                case _:
                    raise
        else:
            return _publish(device, stored)
    raise AssertionError("the last attempt returns or raises")


def store_if_token_active(
    device: Device, readings: Sequence[ParsedReading], *, digest: bytes, now: datetime
) -> StoreResult | None:
    """Store the readings if the token with this digest is active.

    One statement checks the token and inserts. Returns None (nothing stored) if the token is
    inactive or the request is not eligible for the fast path. Lock and statement timeouts are
    re-raised so that the request does not wait twice.
    """
    if (
        quotas.is_disk_full()
        or len(readings) >= COPY_THRESHOLD
        or not all(
            keys.is_registered(device, reading.telemetry_type, reading.keys(), reading.recorded_at)
            for reading in readings
        )
    ):
        return None
    params = _insert_params(device, readings, now, contact=True) | {"digest": digest}
    try:
        with _savepoint_if_needed(), connection.cursor() as cursor:
            cursor.execute(_insert_statement(alone=len(readings) == 1, by_token=True), params)
            row = cursor.fetchone()
    except Error as error:
        if isinstance(error.__cause__, errors.LockNotAvailable | errors.QueryCanceled):
            raise
        return None
    return _publish(device, StoreResult(row[0], len(readings) - row[0], row[1])) if row else None


def _insert(
    device: Device, readings: Sequence[ParsedReading], now: datetime, contact: bool
) -> StoreResult:
    params = _insert_params(device, readings, now, contact)
    with _savepoint_if_needed(), connection.cursor() as cursor:
        cursor.execute(_insert_statement(alone=len(readings) == 1), params)
        accepted, pending = cursor.fetchone()
    return StoreResult(accepted, len(readings) - accepted, pending)


def _publish(device: Device, stored: StoreResult) -> StoreResult:
    if stored.accepted:
        events.publish_later("reading", device_id=device.pk)
    return stored


def _savepoint_if_needed() -> AbstractContextManager[Any]:
    """Return a savepoint inside a transaction, so that a failed statement does not break it."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


def _insert_params(
    device: Device, readings: Sequence[ParsedReading], now: datetime, contact: bool
) -> dict[str, Any]:
    return {
        **mark_seen_params(device, now=now, contact=contact),
        "open": _open_hour_start(now),
        # For one reading, unnest() would cost PostgreSQL more than the insert itself.
        **(
            _single_params(readings[0]) if len(readings) == 1 else pg_binary.encode_arrays(readings)
        ),
    }


def _single_params(reading: ParsedReading) -> dict[str, Any]:
    return {
        "id": reading.id,
        "type": reading.telemetry_type,
        "payload": reading.json.decode(),
        "time": reading.recorded_at,
    }


@cache
def _insert_statement(*, alone: bool, by_token: bool = False) -> str:
    source = SINGLE_ROW_SQL if alone else UNNEST_SQL
    active_token = active_token_query().sql if by_token else "SELECT"
    return f"""
        WITH active AS MATERIALIZED (SELECT FROM ({active_token}) AS token),
        seen AS ({MARK_SEEN} AND EXISTS (SELECT FROM active) RETURNING id),
        stored AS (
            INSERT INTO telemetry
                (id, device_id, telemetry_type, payload, recorded_at, created_at)
            SELECT id, %(device)s, telemetry_type, payload, recorded_at, %(now)s
            FROM active, (SELECT count(*) FROM seen) AS device_first,
                {source} AS sent(id, telemetry_type, payload, recorded_at)
            ORDER BY recorded_at, id
            ON CONFLICT DO NOTHING
            RETURNING recorded_at
        ), late AS (
            INSERT INTO telemetry_dirty (device_id, hour)
            SELECT DISTINCT %(device)s::uuid, date_trunc('hour', recorded_at, 'UTC')
            FROM stored WHERE recorded_at < {ROLLED_UP}
        )
        SELECT
            (SELECT count(*) FROM stored),
            (SELECT count(*) FROM ({pending_commands_query().sql}) AS pending)
        FROM active
    """  # noqa: S608 - built from constants only


def _copy(
    device: Device, readings: Sequence[ParsedReading], now: datetime, contact: bool
) -> StoreResult:
    ordered = sorted(readings, key=attrgetter("microseconds"))
    with transaction.atomic():
        known, pending = _lock_and_fetch_ids(device, ordered, now, contact)
        if len(known) > MAX_LOOKUP_RATIO * len(ordered):
            # The batch is spread over so long a time that most of the stored ids are not its own.
            return _insert(device, readings, now, contact)
        known_before = len(known)
        with connection.wrap_database_errors, connection.cursor() as cursor:
            with cursor.copy(COPY) as copy:
                for rows in _encode_rows(ordered, known, now):
                    copy.write(rows)
        accepted = len(known) - known_before
        if accepted:
            _queue_late_hours(device, ordered, now)
    return StoreResult(accepted, len(readings) - accepted, pending)


def _lock_and_fetch_ids(
    device: Device, ordered: Sequence[ParsedReading], now: datetime, contact: bool
) -> tuple[set[bytes], int]:
    """Lock the device; return the stored ids in the batch's time span and the pending commands.

    This takes one round trip but several statements: the ids must be read after the lock is held,
    and a statement sees only rows that were committed before it began.
    """
    params = {
        **mark_seen_params(device, now=now, contact=contact),
        "first": ordered[0].recorded_at,
        "last": ordered[-1].recorded_at,
        "most": MAX_LOOKUP_RATIO * len(ordered) + 1,
    }
    count = f"SELECT count(*) FROM ({pending_commands_query().sql}) AS pending"  # noqa: S608 - a constant
    with connection.wrap_database_errors, connection.connection.pipeline():
        execute = connection.connection.execute
        execute(LOCK, params)
        execute(MARK_SEEN, params)
        pending, ids = execute(count, params), execute(IDS, params)
    return {id for (id,) in ids}, pending.fetchone()[0]


def _encode_rows(
    ordered: Sequence[ParsedReading], known: set[bytes], now: datetime
) -> Iterator[bytes]:
    """Yield the new readings as chunks for COPY, and add their ids to `known`."""
    created_at = pg_binary.encode_timestamp(microseconds_of(now))
    yield pg_binary.COPY_HEAD
    start = 0
    while start < len(ordered):
        end = start + CHUNK
        # Readings with the same time stay in one chunk, so that they can be sorted by id.
        while end < len(ordered) and ordered[end].microseconds == ordered[end - 1].microseconds:
            end += 1
        rows = []
        with_ids = [
            (reading.microseconds, reading.id_bytes(), reading) for reading in ordered[start:end]
        ]
        for _, id, reading in sorted(with_ids, key=itemgetter(0, 1)):
            if id not in known:
                known.add(id)
                rows.append(pg_binary.encode_copy_row(id, reading, created_at))
        yield b"".join(rows)
        start = end
    yield pg_binary.COPY_END


def _queue_late_hours(device: Device, readings: Sequence[ParsedReading], now: datetime) -> None:
    """Queue the past hours of these readings, so that the worker rolls them up again."""
    numbers = {reading.microseconds // MICROSECONDS_IN_HOUR for reading in readings}
    hours = [EPOCH + timedelta(hours=number) for number in sorted(numbers)]
    with connection.cursor() as cursor:
        cursor.execute(
            QUEUE_SQL, {"device": device.pk, "hours": hours, "open": _open_hour_start(now)}
        )


def _open_hour_start(now: datetime) -> datetime:
    return (now - LATE_GRACE).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
