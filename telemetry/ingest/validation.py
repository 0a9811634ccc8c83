"""Validate and identify readings. This module does not access the database.

A reading is identified by its content. Its id is a UUIDv8 (RFC 9562, 5.8): 48 bits of the
milliseconds of `recorded_at`, then 74 bits of BLAKE2b over device, type, time and canonical
payload. A reading that is sent again gets the same id. The canonical form must never change,
because every id depends on it; the fixed examples in tests/telemetry check this.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec import UNSET, UnsetType

from common import timestamps
from common.strict_json import (
    FLOAT_LIMIT,
    INTEGER_LIMIT,
    KEY_LIMIT,
    LEAF_LIMIT,
    JSONError,
    JSONSyntaxError,
    duplicate_key_error,
    json_pointer,
    validate_object,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TELEMETRY_TYPE = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z", re.ASCII)
MAX_ERRORS_PER_READING = 20
SHORT_PAYLOAD_BYTES = 2 * LEAF_LIMIT
"""A payload of this size cannot have more than LEAF_LIMIT values."""
FIELDS = {"telemetry_type", "payload", "recorded_at"}

MAY_NEED_CANONICALIZING = {float, dict, list}
"""Types whose values may differ from their canonical form, or contain such values."""

to_json = msgspec.json.Encoder().encode
to_messagepack = msgspec.msgpack.Encoder(order="deterministic").encode

Key = Annotated[str, msgspec.Meta(max_length=KEY_LIMIT)]
Leaf = (
    Annotated[int, msgspec.Meta(ge=-INTEGER_LIMIT, le=INTEGER_LIMIT)]
    | Annotated[float, msgspec.Meta(ge=-FLOAT_LIMIT, le=FLOAT_LIMIT)]
    | bool
    | str
    | None
)
Inner = Leaf | dict[Key, Leaf] | list[Leaf]


class RawReading(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A reading in the usual form, validated by msgspec while it is decoded.

    JSON that does not match may still be valid: `parse` decides.
    """

    telemetry_type: str
    payload: dict[Key, Leaf | dict[Key, Inner] | list[Inner]]
    recorded_at: str | UnsetType | None = UNSET


class ParsedReading(msgspec.Struct, frozen=True, gc=False):
    """A valid reading that can be stored."""

    device: bytes
    """The 16 bytes of the device id."""
    telemetry_type: str
    payload: dict[str, Any]
    """In canonical form."""
    json: bytes
    """The payload as stored: JSON in UTF-8."""
    recorded_at: datetime
    microseconds: int
    """The same time, in microseconds since 1970."""

    @property
    def id(self) -> UUID:
        """Return the id, which is computed from the content."""
        return UUID(bytes=self.id_bytes())

    def id_bytes(self) -> bytes:
        """Return the 16 bytes of `id`.

        The hash covers, in this order: the 16 bytes of the device id; the microseconds since 1970
        (8 bytes, big endian); the type in UTF-8 and a zero byte; the payload as MessagePack with
        sorted keys.
        """
        content = b"%b%b%b\0%b" % (
            self.device,
            self.microseconds.to_bytes(8, "big", signed=True),
            self.telemetry_type.encode(),
            to_messagepack(self.payload),
        )
        digest = bytearray(blake2b(content, digest_size=10).digest())
        digest[0] = digest[0] & 0x0F | 0x80
        digest[2] = digest[2] & 0x3F | 0x80
        return (self.microseconds // 1000).to_bytes(6, "big") + digest

    def keys(self) -> tuple[str, ...]:
        """Return the paths of all values in the payload."""
        if self.json.rfind(b"{") == 0 and b"[" not in self.json:
            return tuple(self.payload)
        return tuple([path for path, _ in iter_values(self.payload)])


class ParseLimits(NamedTuple):
    """Limits that are the same for all readings of a batch."""

    now: datetime
    earliest: datetime
    latest: datetime
    short_payload: int
    """Maximum bytes of a payload that needs no check of its length and its number of values."""


class InvalidReadings(ValueError):
    """None of the readings is valid; `faults` has the reasons."""

    def __init__(self, faults: list[JSONError]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


def parse(
    value: Any,
    *,
    device_id: UUID,
    now: datetime,
    at: str = "",
    earliest: datetime = timestamps.MIN_TIMESTAMP,
) -> ParsedReading | list[JSONError]:
    """Return the reading for a decoded JSON value, or all its errors with pointers below `at`.

    The value may also be a RawReading or a JSONSyntaxError. A time before `earliest` is an error.
    """
    if isinstance(value, RawReading):
        value = _fields(value)
    if isinstance(value, JSONSyntaxError):
        return [JSONError(at, "not-json", str(value))]
    if not isinstance(value, dict):
        return [JSONError(at, "not-an-object", "Must be a JSON object.")]
    faults = [
        JSONError(at + json_pointer(field), "unknown-field", "Unknown field.")
        for field in value.keys() - FIELDS
    ]
    if duplicate_key := duplicate_key_error(value, at=at):
        faults.append(duplicate_key)
    faults += _check_type(value, at) + _check_payload(value, at)
    recorded_at = now
    try:
        if value.get("recorded_at") is not None:
            recorded_at = timestamps.parse(value["recorded_at"])
        if detail := timestamps.range_error(recorded_at, now=now, earliest=earliest):
            faults.append(JSONError(f"{at}/recorded_at", "time-out-of-range", detail))
    except timestamps.InvalidTimestamp as error:
        faults.append(JSONError(f"{at}/recorded_at", "invalid-time", str(error)))
    if faults:
        return faults[:MAX_ERRORS_PER_READING]
    return build_reading(device_id, value["telemetry_type"], value["payload"], recorded_at)


def parse_all(
    values: Sequence[Any],
    *,
    device_id: UUID,
    now: datetime,
    at: str = "",
    is_list: bool = True,
    earliest: datetime = timestamps.MIN_TIMESTAMP,
) -> tuple[list[ParsedReading], dict[int, list[JSONError]]]:
    """Return the valid readings in order, and the errors of each invalid reading by its index.

    The pointers start with `at` and, if the body is a list, the index.
    """
    readings: list[ParsedReading] = []
    rejected: dict[int, list[JSONError]] = {}
    device, short_payload = device_id.bytes, min(SHORT_PAYLOAD_BYTES, settings.PAYLOAD_LIMIT)
    limits = ParseLimits(now, earliest, timestamps.max_timestamp(now), short_payload)
    for index, value in enumerate(values):
        if isinstance(value, RawReading) and (reading := _parse_fast(value, device, limits)):
            readings.append(reading)
            continue
        pointer = f"{at}/{index}" if is_list else at
        parsed = parse(value, device_id=device_id, now=now, at=pointer, earliest=earliest)
        if isinstance(parsed, ParsedReading):
            readings.append(parsed)
        else:
            # After 100 rejected readings, report only the first error of each.
            rejected[index] = parsed if len(rejected) < 100 else parsed[:1]
    return readings, rejected


def build_reading(
    device_id: UUID, telemetry_type: str, payload: dict[str, Any], recorded_at: datetime
) -> ParsedReading:
    """Return a reading from values that are already validated."""
    canonicalize(payload)
    microseconds = microseconds_of(recorded_at)
    return ParsedReading(
        device_id.bytes, telemetry_type, payload, to_json(payload), recorded_at, microseconds
    )


def canonicalize(value: Any) -> Any:
    """Return the value with integral floats replaced by integers: 1.0 becomes 1, -0.0 becomes 0.

    Objects and arrays are changed in place.
    """
    value_type = type(value)
    if value_type is float:
        integral = value.is_integer() and -INTEGER_LIMIT <= value <= INTEGER_LIMIT
        return int(value) if integral else value
    if value_type is dict or value_type is list:
        for key, item in value.items() if value_type is dict else enumerate(value):
            # Most items need no change. A call for each would take most of the time.
            if type(item) in MAY_NEED_CANONICALIZING:
                value[key] = canonicalize(item)
    return value


def microseconds_of(time: datetime) -> int:
    """Return the microseconds since 1970."""
    since = time - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def time_span_of(reading_id: UUID) -> tuple[datetime, datetime]:
    """Return the millisecond that a reading id contains: its start, and its end (excluded)."""
    start = EPOCH + timedelta(milliseconds=reading_id.int >> 80)
    return start, start + timedelta(milliseconds=1)


def iter_values(payload: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value in a payload with its path: {"gps": {"lat": 1}} gives ("gps.lat", 1)."""
    if isinstance(payload, dict | list) and payload:
        items = payload.items() if isinstance(payload, dict) else enumerate(payload)
        for key, item in items:
            yield from iter_values(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, payload


def _parse_fast(raw: RawReading, device: bytes, limits: ParseLimits) -> ParsedReading | None:
    """Return the reading if the quick checks pass, or None if `parse` must decide."""
    time = raw.recorded_at
    try:
        recorded_at = timestamps.parse(time) if isinstance(time, str) else limits.now
    except timestamps.InvalidTimestamp:
        return None
    canonicalize(raw.payload)
    json = to_json(raw.payload)
    if (
        limits.earliest <= recorded_at <= limits.latest
        and 2 < len(json) <= limits.short_payload
        and TELEMETRY_TYPE.fullmatch(raw.telemetry_type)
    ):
        microseconds = microseconds_of(recorded_at)
        return ParsedReading(
            device, raw.telemetry_type, raw.payload, json, recorded_at, microseconds
        )
    return None


def _fields(raw: RawReading) -> dict[str, Any]:
    """Return the JSON object that was decoded into `raw`."""
    fields = msgspec.structs.asdict(raw)
    return {name: value for name, value in fields.items() if value is not UNSET}


def _check_type(value: dict[str, Any], at: str) -> list[JSONError]:
    telemetry_type = value.get("telemetry_type")
    if isinstance(telemetry_type, str) and TELEMETRY_TYPE.fullmatch(telemetry_type):
        return []
    code = "invalid" if "telemetry_type" in value else "required"
    return [
        JSONError(f"{at}/telemetry_type", code, "Must be 1 to 64 characters from A-Z a-z 0-9 _ -")
    ]


def _check_payload(value: dict[str, Any], at: str) -> list[JSONError]:
    at += "/payload"
    if "payload" not in value:
        return [JSONError(at, "required", "This field is required.")]
    if value["payload"] == {}:
        return [JSONError(at, "empty", "The payload must not be empty.")]
    return validate_object(value["payload"], limit=settings.PAYLOAD_LIMIT, at=at)
