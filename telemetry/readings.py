"""What a reading is: how it is read, checked and identified. No database here.

A reading is identified by what it says. Its id is a UUIDv8 (RFC 9562, 5.8): 48 bits of the
milliseconds of `recorded_at`, then 74 bits of BLAKE2b over device, type, time and canonical
payload. Sent again it is the same row. The canonical form decides identity for ever; the frozen
examples in tests/telemetry guard it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from devices import times
from devices.free_json import INTEGER_LIMIT, Fault, check_object, pointer, repetition

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

TELEMETRY_TYPE = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z", re.ASCII)
FAULTS_SHOWN = 20
"""Of one reading; a thousand unknown fields are not worth a thousand sentences."""
FIELDS = {"telemetry_type", "payload", "recorded_at"}


@dataclass(frozen=True, slots=True)
class Reading:
    """A checked reading, ready to be stored. `payload` is JSON text in UTF-8."""

    id: UUID
    telemetry_type: str
    payload: str
    recorded_at: datetime


class InvalidReadings(ValueError):
    """Not one of the readings can be stored; `faults` says why."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


def parse(value: Any, *, device_id: UUID, now: datetime, at: str = "") -> Reading | list[Fault]:
    """The reading that a decoded JSON value is, or every fault in it, pointing below `at`."""
    if not isinstance(value, dict):
        return [Fault(at, "not-an-object", "A reading is a JSON object.")]
    faults = [
        Fault(at + pointer(field), "unknown-field", "A reading has no such field.")
        for field in value.keys() - FIELDS
    ]
    if twice := repetition(value, at=at):
        faults.append(twice)
    faults += _check_type(value, at) + _check_payload(value, at)
    recorded_at = now
    try:
        if value.get("recorded_at") is not None:
            recorded_at = times.parse(value["recorded_at"])
        faults += _check_time(recorded_at, now, at)
    except times.NotATime as error:
        faults.append(Fault(f"{at}/recorded_at", "invalid-time", str(error)))
    if faults:
        return faults[:FAULTS_SHOWN]
    return make(device_id, value["telemetry_type"], value["payload"], recorded_at)


def parse_all(
    values: Sequence[Any], *, device_id: UUID, now: datetime, at: str = ""
) -> tuple[list[Reading], dict[int, list[Fault]]]:
    """The valid readings in order, and the faults of each other one by its index."""
    readings: list[Reading] = []
    rejected: dict[int, list[Fault]] = {}
    for index, value in enumerate(values):
        outcome = parse(value, device_id=device_id, now=now, at=f"{at}/{index}")
        if isinstance(outcome, Reading):
            readings.append(outcome)
        else:
            # Where hundreds are bad, each one's first fault tells enough.
            rejected[index] = outcome if len(rejected) < 100 else outcome[:1]
    return readings, rejected


def make(
    device_id: UUID, telemetry_type: str, payload: dict[str, Any], recorded_at: datetime
) -> Reading:
    """A reading of values that are known to be valid, with its id."""
    payload = canonical(payload)
    return Reading(
        id=reading_id(device_id, telemetry_type, payload, recorded_at),
        telemetry_type=telemetry_type,
        payload=msgspec.json.encode(payload).decode(),
        recorded_at=recorded_at,
    )


def canonical(value: Any) -> Any:
    """Equal numbers made the same: a float that is an integer (1.0, -0.0) becomes one (1, 0)."""
    if isinstance(value, float):
        integral = value.is_integer() and abs(value) <= INTEGER_LIMIT
        return int(value) if integral else value
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return value


def reading_id(
    device_id: UUID, telemetry_type: str, payload: dict[str, Any], recorded_at: datetime
) -> UUID:
    """The id of a reading with a canonical payload.

    Hashed are, in this order: the device's 16 bytes; the microseconds since 1970, 8 bytes, big
    endian; the type in UTF-8 and a zero byte; the payload as MessagePack with sorted keys.
    """
    microseconds = (recorded_at - EPOCH) // MICROSECOND
    content = (
        device_id.bytes
        + microseconds.to_bytes(8, "big", signed=True)
        + telemetry_type.encode()
        + b"\0"
        + msgspec.msgpack.encode(payload, order="deterministic")
    )
    number = microseconds // 1000 << 80
    number |= int.from_bytes(blake2b(content, digest_size=10).digest(), "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=number)


def time_span_of(reading_id: UUID) -> tuple[datetime, datetime]:
    """The millisecond, first instant included and last excluded, that an id was made in."""
    start = EPOCH + timedelta(milliseconds=reading_id.int >> 80)
    return start, start + timedelta(milliseconds=1)


def values(payload: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a payload with its path: {"gps": {"lat": 1}} gives ("gps.lat", 1)."""
    if isinstance(payload, dict | list) and payload:
        items = payload.items() if isinstance(payload, dict) else enumerate(payload)
        for key, item in items:
            yield from values(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, payload


def _check_type(value: dict[str, Any], at: str) -> list[Fault]:
    kind = value.get("telemetry_type")
    if isinstance(kind, str) and TELEMETRY_TYPE.fullmatch(kind):
        return []
    code = "invalid" if "telemetry_type" in value else "required"
    return [Fault(f"{at}/telemetry_type", code, "1 to 64 of the characters A-Z a-z 0-9 _ -")]


def _check_payload(value: dict[str, Any], at: str) -> list[Fault]:
    at += "/payload"
    if "payload" not in value:
        return [Fault(at, "required", "A reading has a payload.")]
    if value["payload"] == {}:
        return [Fault(at, "empty", "The payload says nothing.")]
    return check_object(value["payload"], limit=settings.PAYLOAD_LIMIT, at=at)


def _check_time(recorded_at: datetime, now: datetime, at: str) -> list[Fault]:
    detail = times.out_of_range(recorded_at, now=now)
    return [Fault(f"{at}/recorded_at", "time-out-of-range", detail)] if detail else []
