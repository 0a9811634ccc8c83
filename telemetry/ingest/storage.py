"""How readings get into the table; purge.py is how they leave it.

A few go in by one statement that leaves out what is there already. Of many it is looked up first
what is there, and the rest is copied, which costs PostgreSQL half as much (docs/decisions/0014).
Either way the rows are written in the order of the table's key, and the device, where it is locked
at all, before them: no two senders can wait for each other.
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
from devices.models import Device, waiting
from devices.presence import MARK_SEEN, mark_seen_params
from telemetry.ingest import pg_binary
from telemetry.ingest.validation import EPOCH, Reading, microseconds_of
from telemetry.keys import registry as keys
from telemetry.retention import partitions

COPY_THRESHOLD = 250
"""Readings from which on copying is the faster way."""
CHUNK = 250
"""Readings that are encoded while PostgreSQL stores the ones before."""
LATE_GRACE = timedelta(minutes=5)
"""After the end of an hour: what comes for it until then is in time for the rolling up, which
waits longer still."""
MAX_LOOKUP_RATIO = 4
"""As many times more readings than are sent may be looked up."""
TRIES = 5

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
"""What comes from before is late; also if the clock was ahead when that was written down."""
QUEUE_SQL = f"""
    INSERT INTO telemetry_dirty (device_id, hour)
    SELECT %(device)s, hour FROM unnest(%(hours)s::timestamptz[]) AS hour WHERE hour < {ROLLED_UP}
"""  # noqa: S608 - put together of constants
MICROSECONDS_IN_HOUR = 3_600_000_000


class DeviceDeleted(Exception):
    """The device was deleted while it was sending."""


class StoreResult(NamedTuple):
    """What became of a batch: how many readings were new, how many already there."""

    accepted: int
    duplicates: int
    pending_commands: int = 0
    """How many commands wait for the device."""


def store(
    device: Device, readings: Sequence[Reading], *, now: datetime, contact: bool = True
) -> StoreResult:
    """Store the readings that are not there yet and return after the commit.

    Unless it is an import of old ones, their coming is contact with the device.
    Raises DeviceGone, quotas.DiskFull.
    """
    quotas.check_disk()
    keys.register_keys(
        device, [(one.telemetry_type, one.keys(), one.recorded_at) for one in readings]
    )
    copy = len(readings) >= COPY_THRESHOLD
    for tries_left in reversed(range(TRIES)):
        try:
            write = _copy if copy else _insert
            stored = write(device, readings, now, contact)
        except Error as error:
            match error.__cause__:
                case errors.ForeignKeyViolation():
                    raise DeviceDeleted from error
                # There is no partition for a reading yet: rare enough to be found out by trying.
                case errors.CheckViolation() if tries_left:
                    partitions.ensure(
                        (partitions.month_of(one.recorded_at) for one in readings), now=now
                    )
                # Somebody else has stored the same since it was looked up.
                case errors.UniqueViolation() if tries_left:
                    copy = False
                case errors.DeadlockDetected() | errors.SerializationFailure() if tries_left:
                    pass
                case _:
                    raise
        else:
            return _publish(device, stored)
    raise AssertionError("the last try has returned or raised")


def store_if_token_active(
    device: Device, readings: Sequence[Reading], *, digest: bytes, now: datetime
) -> StoreResult | None:
    """Store what somebody sends who was known a while ago, if the token with this digest lives.

    One statement asks for the one and does the other. None when it does not live, or when
    anything else is out of the ordinary; nothing is stored then. But what has waited for its turn
    in vain must not wait again: that is raised.
    """
    if (
        quotas.is_disk_full()
        or len(readings) >= COPY_THRESHOLD
        or not all(
            keys.is_registered(device, one.telemetry_type, one.keys(), one.recorded_at)
            for one in readings
        )
    ):
        return None
    arguments = _arguments(device, readings, now, contact=True) | {"digest": digest}
    try:
        with _savepoint_if_needed(), connection.cursor() as cursor:
            cursor.execute(_insert_statement(alone=len(readings) == 1, by_token=True), arguments)
            row = cursor.fetchone()
    except Error as error:
        if isinstance(error.__cause__, errors.LockNotAvailable | errors.QueryCanceled):
            raise
        return None
    return _publish(device, StoreResult(row[0], len(readings) - row[0], row[1])) if row else None


def _insert(
    device: Device, readings: Sequence[Reading], now: datetime, contact: bool
) -> StoreResult:
    arguments = _arguments(device, readings, now, contact)
    with _savepoint_if_needed(), connection.cursor() as cursor:
        cursor.execute(_insert_statement(alone=len(readings) == 1), arguments)
        accepted, pending = cursor.fetchone()
    return StoreResult(accepted, len(readings) - accepted, pending)


def _publish(device: Device, stored: StoreResult) -> StoreResult:
    if stored.accepted:
        events.publish_later("reading", device_id=device.pk)
    return stored


def _savepoint_if_needed() -> AbstractContextManager[Any]:
    """One statement commits by itself; within a transaction a failure must leave it usable."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


def _arguments(
    device: Device, readings: Sequence[Reading], now: datetime, contact: bool
) -> dict[str, Any]:
    return {
        **mark_seen_params(device, now=now, contact=contact),
        "open": _open_hour_start(now),
        # To take a list apart costs PostgreSQL more than to store what is alone in it.
        **(
            _single_params(readings[0]) if len(readings) == 1 else pg_binary.encode_arrays(readings)
        ),
    }


def _single_params(reading: Reading) -> dict[str, Any]:
    return {
        "id": reading.id,
        "type": reading.telemetry_type,
        "payload": reading.json.decode(),
        "time": reading.recorded_at,
    }


@cache
def _insert_statement(*, alone: bool, by_token: bool = False) -> str:
    sent = SINGLE_ROW_SQL if alone else UNNEST_SQL
    living = active_token_query().sql if by_token else "SELECT"
    return f"""
        WITH living AS MATERIALIZED (SELECT FROM ({living}) AS token),
        seen AS ({MARK_SEEN} AND EXISTS (SELECT FROM living) RETURNING id),
        stored AS (
            INSERT INTO telemetry
                (id, device_id, telemetry_type, payload, recorded_at, created_at)
            SELECT id, %(device)s, telemetry_type, payload, recorded_at, %(now)s
            FROM living, (SELECT count(*) FROM seen) AS device_first,
                {sent} AS sent(id, telemetry_type, payload, recorded_at)
            ORDER BY recorded_at, id
            ON CONFLICT DO NOTHING
            RETURNING recorded_at
        ), late AS (
            INSERT INTO telemetry_dirty (device_id, hour)
            SELECT DISTINCT %(device)s::uuid, date_trunc('hour', recorded_at, 'UTC')
            FROM stored WHERE recorded_at < {ROLLED_UP}
        )
        SELECT (SELECT count(*) FROM stored), (SELECT count(*) FROM ({waiting().sql}) AS waiting)
        FROM living
    """  # noqa: S608 - put together of constants


def _copy(device: Device, readings: Sequence[Reading], now: datetime, contact: bool) -> StoreResult:
    ordered = sorted(readings, key=attrgetter("microseconds"))
    with transaction.atomic():
        known, pending = _lock_and_fetch_ids(device, ordered, now, contact)
        if len(known) > MAX_LOOKUP_RATIO * len(ordered):
            # Its readings are spread so thinly that most of what was looked up is others.
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
    device: Device, ordered: Sequence[Reading], now: datetime, contact: bool
) -> tuple[set[bytes], int]:
    """Lock the device; the ids there are between the first time and the last, and how many
    commands wait. In one round trip, but by several statements: what is there must be seen after
    the lock is held, and a statement sees what was there when it began.
    """
    arguments = {
        **mark_seen_params(device, now=now, contact=contact),
        "first": ordered[0].recorded_at,
        "last": ordered[-1].recorded_at,
        "most": MAX_LOOKUP_RATIO * len(ordered) + 1,
    }
    count = f"SELECT count(*) FROM ({waiting().sql}) AS waiting"  # noqa: S608 - a constant
    with connection.wrap_database_errors, connection.connection.pipeline():
        execute = connection.connection.execute
        execute(LOCK, arguments)
        execute(MARK_SEEN, arguments)
        pending, ids = execute(count, arguments), execute(IDS, arguments)
    return {id for (id,) in ids}, pending.fetchone()[0]


def _encode_rows(ordered: Sequence[Reading], known: set[bytes], now: datetime) -> Iterator[bytes]:
    """The readings that are not yet known, and from now on are, as COPY takes them, some at a
    time.
    """
    created_at = pg_binary.encode_timestamp(microseconds_of(now))
    yield pg_binary.COPY_HEAD
    start = 0
    while start < len(ordered):
        end = start + CHUNK
        # Those of one time stay together, so that their ids can put them in order.
        while end < len(ordered) and ordered[end].microseconds == ordered[end - 1].microseconds:
            end += 1
        rows = []
        with_ids = [(one.microseconds, one.id_bytes(), one) for one in ordered[start:end]]
        for _, id, reading in sorted(with_ids, key=itemgetter(0, 1)):
            if id not in known:
                known.add(id)
                rows.append(pg_binary.encode_copy_row(id, reading, created_at))
        yield b"".join(rows)
        start = end
    yield pg_binary.COPY_END


def _queue_late_hours(device: Device, readings: Sequence[Reading], now: datetime) -> None:
    """Have the hours rolled up again that are over."""
    numbers = {one.microseconds // MICROSECONDS_IN_HOUR for one in readings}
    hours = [EPOCH + timedelta(hours=number) for number in sorted(numbers)]
    with connection.cursor() as cursor:
        cursor.execute(
            QUEUE_SQL, {"device": device.pk, "hours": hours, "open": _open_hour_start(now)}
        )


def _open_hour_start(now: datetime) -> datetime:
    return (now - LATE_GRACE).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
