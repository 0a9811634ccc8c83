"""How readings get into the table; purge.py is how they leave it."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from psycopg import errors

from devices.models import Device
from devices.presence import MARK_SEEN, contact_arguments
from telemetry import partitions
from telemetry.readings import Reading

STORE = f"""
    WITH stored AS (
        INSERT INTO telemetry (id, device_id, telemetry_type, payload, recorded_at, created_at)
        SELECT id, %(device)s, telemetry_type, payload, recorded_at, %(now)s
        FROM unnest(%(ids)s::uuid[], %(types)s::text[], %(payloads)s::jsonb[],
                    %(times)s::timestamptz[])
             AS sent(id, telemetry_type, payload, recorded_at)
        ORDER BY recorded_at, id
        ON CONFLICT DO NOTHING
        RETURNING id
    ), seen AS ({MARK_SEEN})
    SELECT id FROM stored
"""  # noqa: S608 - put together of constants
"""In one round trip. The rows are inserted in the order of the key, and the device is locked
after them, by every sender alike: no two can wait for each other."""


class DeviceGone(Exception):
    """The device was deleted while it was sending."""


class TooManyReadings(Exception):
    """More readings than one request may bring."""


class Stored(NamedTuple):
    """What became of a batch: how many readings were new, how many already there."""

    accepted: int
    duplicates: int


def store(
    device: Device, readings: Sequence[Reading], *, now: datetime, contact: bool = True
) -> Stored:
    """Store the readings that are not there yet and return after the commit.

    Unless it is an import of old ones, their coming is contact with the device.
    Raises DeviceGone.
    """
    arguments = {
        **contact_arguments(device, now=now, contact=contact),
        "ids": [reading.id for reading in readings],
        "types": [reading.telemetry_type for reading in readings],
        "payloads": [reading.payload for reading in readings],
        "times": [reading.recorded_at for reading in readings],
    }
    try:
        accepted = _execute(arguments)
    except IntegrityError as error:
        if not isinstance(error.__cause__, errors.CheckViolation):
            raise
        # A month that nothing was stored in yet: rare enough to be found out by trying.
        partitions.ensure(partitions.month_of(reading.recorded_at) for reading in readings)
        accepted = _execute(arguments)
    return Stored(accepted, len(readings) - accepted)


def _execute(arguments: dict[str, Any]) -> int:
    # One statement commits by itself; within a transaction a failure must leave it usable.
    savepoint = transaction.atomic() if connection.in_atomic_block else nullcontext()
    try:
        with savepoint, connection.cursor() as cursor:
            cursor.execute(STORE, arguments)
            return len(cursor.fetchall())
    except IntegrityError as error:
        if isinstance(error.__cause__, errors.ForeignKeyViolation):
            raise DeviceGone from error
        raise
