"""What the large database holds: a thousand devices over a year, and one that sent every 10 s.

By binary COPY straight into the months, a month in a transaction, in the order in which they
would have come, with the ids that telemetry.readings would give them. Loaded once, then kept;
what was interrupted goes on with the month that is missing.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import pi, sin
from uuid import UUID

from psycopg import sql

from benchmarks import database
from benchmarks.bodies import as_row
from benchmarks.database import Connection
from benchmarks.peers import raw_copy
from benchmarks.progress import say
from telemetry.ingest.validation import EPOCH, ParsedReading, canonicalize, to_json

DEVICES = 1_000
STEP = timedelta(seconds=10)
"""Between two readings of the one device."""
YEAR = timedelta(days=366)
TYPE = "environment"
KEYS = ["temperature", "humidity", "battery"]
PAYLOADS = 8_640
"""How many different ones there are: a day of the one device."""
PIECE = 2_000
"""Rows that are written to the socket at once."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Stored:
    """The one device and its year; the end is excluded. `readings` counts those of all."""

    device: UUID
    fleet: list[UUID]
    start: datetime
    end: datetime
    readings: int


@dataclass(frozen=True)
class Month:
    """What one process loads."""

    database: str
    name: str
    device: UUID
    fleet: list[UUID]
    fleet_step: timedelta
    start: datetime
    end: datetime


def load(name: str, readings: int) -> Stored:
    """Load the database with about so many readings, unless that was done."""
    device, fleet, end = _devices()
    start = end - YEAR
    step = YEAR / ((readings - YEAR // STEP) / DEVICES)
    months = list(_months(name, device, fleet, step, start, end))
    with database.connect(name) as connection:
        missing = [month for month in months if not _is_loaded(connection, month)]
        if missing:
            _load(missing)
            connection.execute("VACUUM ANALYZE telemetry")
        _register_keys(connection, [device, *fleet], start)
        if not _is_rolled_up(connection, device):
            database.manage("rebuild_rollups", "--device", str(device), database=name)
        total = connection.execute("SELECT count(*) FROM telemetry").fetchone()
    assert total
    return Stored(device, fleet, start, end, total[0])


def _load(months: list[Month]) -> None:
    started, done = time.monotonic(), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for month, rows in zip(months, pool.map(load_month, months), strict=True):
            done += rows
            rate = done / (time.monotonic() - started)
            say(f"loaded {month.name}: {rows:,} readings, {rate:,.0f} a second so far")


def load_month(month: Month) -> int:
    """Load a month in one transaction and return how many readings it has."""
    table = sql.Identifier(month.name)
    target = sql.SQL(raw_copy.INTO).format(table)
    written = 0
    with database.connect(month.database) as connection, connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = off")
        with connection.cursor().copy(target) as sink:
            sink.write(raw_copy.HEAD)
            for rows in _pieces(month):
                sink.write(b"".join(rows))
                written += len(rows)
            sink.write(raw_copy.END)
    return written


def _pieces(month: Month) -> Iterator[list[bytes]]:
    payloads = [canonicalize(_payload(number)) for number in range(PAYLOADS)]
    texts = [to_json(payload) for payload in payloads]
    piece = []
    for device, time_, number in _arrivals(month):
        which = number % PAYLOADS
        moment = EPOCH + timedelta(microseconds=time_)
        reading = ParsedReading(device, TYPE, payloads[which], texts[which], moment, time_)
        piece.append(raw_copy.row(*as_row(reading, created_at=time_)))
        if len(piece) == PIECE:
            yield piece
            piece = []
    yield piece


def _arrivals(month: Month) -> Iterator[tuple[bytes, int, int]]:
    """Device, time in microseconds since 1970, and number of each reading, in order of time.

    The fleet's devices take turns, so that their readings lie between those of the one.
    """
    start, end = _microseconds(month.start), _microseconds(month.end)
    step, turn = STEP // MICROSECOND, month.fleet_step // MICROSECOND // len(month.fleet)
    one = month.device.bytes
    fleet = [device.bytes for device in month.fleet]
    number = -(-start // turn)
    for time_ in range(-(-start // step) * step, end, step):
        yield one, time_, time_ // step
        while number * turn < min(time_ + step, end):
            yield fleet[number % len(fleet)], number * turn, number // len(fleet)
            number += 1


def _payload(number: int) -> dict[str, float]:
    day = sin(2 * pi * number / PAYLOADS)
    noise = number * 7919 % 97 / 97
    return {
        "temperature": round(20.005 + 5 * day + noise, 2),
        "humidity": round(55.05 - 10 * day + 3 * noise, 1),
        "battery": round(3.7005 + noise / 10, 3),
    }


def _microseconds(time_: datetime) -> int:
    return (time_ - EPOCH) // MICROSECOND


def _months(
    name: str, device: UUID, fleet: list[UUID], step: timedelta, start: datetime, end: datetime
) -> Iterator[Month]:
    """The months of the year, each with its part of it; their tables are made here."""
    from telemetry.retention import partitions

    firsts: list[date] = [partitions.month_of(start)]
    while firsts[-1] < partitions.month_of(end):
        firsts.append(partitions.month_after(firsts[-1]))
    partitions.ensure(firsts, now=end)
    for first in firsts:
        begins = datetime(first.year, first.month, 1, tzinfo=UTC)
        after = partitions.month_after(first)
        ends = datetime(after.year, after.month, 1, tzinfo=UTC)
        if max(start, begins) < min(end, ends):
            table = f"telemetry_{first:%Y_%m}"
            yield Month(name, table, device, fleet, step, max(start, begins), min(end, ends))


def _is_loaded(connection: Connection, month: Month) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE device_id = %s)")
    found = connection.execute(query.format(sql.Identifier(month.name)), [month.device]).fetchone()
    assert found
    return bool(found[0])


def _is_rolled_up(connection: Connection, device: UUID) -> bool:
    query = "SELECT EXISTS (SELECT FROM telemetry_days WHERE device_id = %s)"
    found = connection.execute(query, [device]).fetchone()
    assert found
    return bool(found[0])


def _devices() -> tuple[UUID, list[UUID], datetime]:
    """The one device, the fleet, and the hour in which the year ends, kept in its metadata."""
    from accounts.models import User
    from devices import services as device_services
    from devices.models import Device

    user = User.objects.get(username="bench")
    one = Device.objects.filter(user=user, name="every 10 s").first()
    if one is None:
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        metadata = {"end": end.isoformat()}
        one, _ = device_services.create_device(user, name="every 10 s", metadata=metadata)
    fleet = Device.objects.filter(user=user, name__startswith="fleet ")
    for number in range(fleet.count(), DEVICES):
        device_services.create_device(user, name=f"fleet {number:04}")
    ids = list(fleet.order_by("name").values_list("pk", flat=True))
    return one.pk, ids, datetime.fromisoformat(one.metadata["end"])


def _register_keys(connection: Connection, devices: list[UUID], since: datetime) -> None:
    """As ingest would have done it."""
    connection.execute(
        """
        INSERT INTO telemetry_keys (device_id, telemetry_type, key, since, label, unit)
        SELECT device, %s, key, %s, '', '' FROM unnest(%s::uuid[]) device, unnest(%s::text[]) key
        ON CONFLICT DO NOTHING
        """,
        [TYPE, since, devices, KEYS],
    )
