"""What is sent: the same bytes to every server. No database here.

A batch is one minute of one device, its readings evenly spread over it. Minutes begin now and go
on into the day that a device's clock may be ahead, so that nothing sent belongs to the past.
Batches go round the devices: batch n is of device n modulo their number.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from telemetry.ingest.validation import ParsedReading, build_reading

MINUTE_MS = 60_000


class Batch(NamedTuple):
    """The readings that one device sends at once, as JSON."""

    device: int
    body: bytes


def now() -> datetime:
    """The minute in which sending begins."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def values(number: int) -> tuple[float, float]:
    """What reading `number` of a batch measures: a temperature and a humidity."""
    return 15 + number % 1000 / 100, 40 + number % 97 / 10


def batches(size: int, number: int, *, devices: int, start: datetime) -> list[Batch]:
    """So many batches of so many readings, each minute of each device once."""
    made = []
    offsets = [f"{n * (MINUTE_MS // size) / 1000:06.3f}" for n in range(size)]
    payloads = ['{{"t":{:.2f},"h":{:.1f}}}'.format(*values(n)) for n in range(size)]
    for index in range(number):
        minute = f"{start + timedelta(minutes=index // devices):%Y-%m-%dT%H:%M:}"
        readings = ",".join(
            f'{{"telemetry_type":"climate","payload":{payload},"recorded_at":"{minute}{offset}Z"}}'
            for payload, offset in zip(payloads, offsets, strict=True)
        )
        made.append(Batch(index % devices, f"[{readings}]".encode()))
    return made


def lines(size: int, number: int, *, devices: Sequence[UUID], start: datetime) -> list[Batch]:
    """The same readings in InfluxDB's line protocol, times in milliseconds."""
    made = []
    fields = ["t={:.2f},h={:.1f}".format(*values(n)) for n in range(size)]
    for index in range(number):
        device = devices[index % len(devices)]
        minute = start + timedelta(minutes=index // len(devices))
        first = int(minute.timestamp()) * 1000
        text = "\n".join(
            f"climate,device={device} {field} {first + n * (MINUTE_MS // size)}"
            for n, field in enumerate(fields)
        )
        made.append(Batch(index % len(devices), text.encode()))
    return made


Row = tuple[bytes, bytes, bytes, bytes, int, int]
"""id, device, type, payload as JSON, recorded_at and created_at in microseconds since 1970."""


def rows(size: int, number: int, *, devices: Sequence[UUID], start: datetime) -> list[list[Row]]:
    """The same readings as rows, with the ids that the site gives them."""
    made = []
    created_at = int(start.timestamp()) * 1_000_000
    for index in range(number):
        device = devices[index % len(devices)]
        minute = start + timedelta(minutes=index // len(devices))
        batch = []
        for n in range(size):
            t, h = values(n)
            time = minute + timedelta(milliseconds=n * (MINUTE_MS // size))
            reading = build_reading(device, "climate", {"t": round(t, 2), "h": round(h, 1)}, time)
            batch.append(as_row(reading, created_at))
        made.append(batch)
    return made


def as_row(reading: ParsedReading, created_at: int) -> Row:
    """A reading as the columns of its row."""
    kind = reading.telemetry_type.encode()
    return (
        *(reading.id_bytes(), reading.device, kind, reading.json),
        *(reading.microseconds, created_at),
    )
