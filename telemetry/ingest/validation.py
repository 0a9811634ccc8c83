"""What a reading is: how it is checked and identified. No database here.

A reading is identified by what it says. Its id is a UUIDv8 (RFC 9562, 5.8): 48 bits of the
milliseconds of `recorded_at`, then 74 bits of BLAKE2b over device, type, time and canonical
payload. Sent again it is the same row. The canonical form decides identity for ever; the frozen
examples in tests/telemetry guard it.
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
FAULTS_SHOWN = 20
"""Of one reading; a thousand unknown fields are not worth a thousand sentences."""
SHORT = 2 * LEAF_LIMIT
"""Bytes in which there is no room for more values than there may be."""
FIELDS = {"telemetry_type", "payload", "recorded_at"}

MAY_NEED_CANONICALIZING = {float, dict, list}
"""What may have another canonical form, or hold what has."""

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
    """A reading as nearly every device sends it, checked while it is decoded.

    What does not fit is not wrong yet: `parse` looks at it more closely.
    """

    telemetry_type: str
    payload: dict[Key, Leaf | dict[Key, Inner] | list[Inner]]
    recorded_at: str | UnsetType | None = UNSET


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A checked reading, ready to be stored."""

    device: bytes
    """The 16 bytes of its id."""
    telemetry_type: str
    payload: dict[str, Any]
    """In canonical form."""
    json: bytes
    """The payload as it is stored: JSON in UTF-8."""
    recorded_at: datetime
    microseconds: int
    """The same time, since 1970."""

    @property
    def id(self) -> UUID:
        """What the reading is known by, made of all that it says."""
        return UUID(bytes=self.id_bytes())

    def id_bytes(self) -> bytes:
        """The 16 bytes of `id`.

        Hashed are, in this order: the device's 16 bytes; the microseconds since 1970, 8 bytes,
        big endian; the type in UTF-8 and a zero byte; the payload as MessagePack with sorted
        keys.
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
        """The paths of all values in the payload."""
        if self.json.rfind(b"{") == 0 and b"[" not in self.json:
            return tuple(self.payload)
        return tuple([path for path, _ in iter_values(self.payload)])


class ParseLimits(NamedTuple):
    """What is asked once for a whole batch."""

    now: datetime
    earliest: datetime
    latest: datetime
    short: int
    """Bytes of a payload that is neither too long nor can hold too many values."""


class InvalidReadings(ValueError):
    """Not one of the readings can be stored; `faults` says why."""

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
) -> Reading | list[JSONError]:
    """The reading that a decoded JSON value is, or every fault in it, pointing below `at`.

    A value may also be `Sent`, or the reason why it could not be decoded. Its time may not be
    before `earliest`.
    """
    if isinstance(value, RawReading):
        value = _fields(value)
    if isinstance(value, JSONSyntaxError):
        return [JSONError(at, "not-json", str(value))]
    if not isinstance(value, dict):
        return [JSONError(at, "not-an-object", "A reading is a JSON object.")]
    faults = [
        JSONError(at + json_pointer(field), "unknown-field", "A reading has no such field.")
        for field in value.keys() - FIELDS
    ]
    if twice := duplicate_key_error(value, at=at):
        faults.append(twice)
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
        return faults[:FAULTS_SHOWN]
    return build_reading(device_id, value["telemetry_type"], value["payload"], recorded_at)


def parse_all(
    values: Sequence[Any],
    *,
    device_id: UUID,
    now: datetime,
    at: str = "",
    is_list: bool = True,
    earliest: datetime = timestamps.MIN_TIMESTAMP,
) -> tuple[list[Reading], dict[int, list[JSONError]]]:
    """The valid readings in order, and the faults of each other one by its index.

    Their pointers lead into the list below `at`, or to the one value that is no list's.
    """
    readings: list[Reading] = []
    rejected: dict[int, list[JSONError]] = {}
    device, short = device_id.bytes, min(SHORT, settings.PAYLOAD_LIMIT)
    bounds = ParseLimits(now, earliest, timestamps.max_timestamp(now), short)
    for index, value in enumerate(values):
        if isinstance(value, RawReading) and (reading := _parse_fast(value, device, bounds)):
            readings.append(reading)
            continue
        place = f"{at}/{index}" if is_list else at
        found = parse(value, device_id=device_id, now=now, at=place, earliest=earliest)
        if isinstance(found, Reading):
            readings.append(found)
        else:
            # Where hundreds are bad, each one's first fault tells enough.
            rejected[index] = found if len(rejected) < 100 else found[:1]
    return readings, rejected


def build_reading(
    device_id: UUID, telemetry_type: str, payload: dict[str, Any], recorded_at: datetime
) -> Reading:
    """A reading of values that are known to be valid."""
    canonicalize(payload)
    microseconds = microseconds_of(recorded_at)
    return Reading(
        device_id.bytes, telemetry_type, payload, to_json(payload), recorded_at, microseconds
    )


def canonicalize(value: Any) -> Any:
    """The value with equal numbers made the same: a float that is an integer (1.0, -0.0) becomes
    one (1, 0). Objects and arrays are changed as they are.
    """
    kind = type(value)
    if kind is float:
        integral = value.is_integer() and -INTEGER_LIMIT <= value <= INTEGER_LIMIT
        return int(value) if integral else value
    if kind is dict or kind is list:
        for key, item in value.items() if kind is dict else enumerate(value):
            # Most are neither, and a call for each would be most of the time this takes.
            if type(item) in MAY_NEED_CANONICALIZING:
                value[key] = canonicalize(item)
    return value


def microseconds_of(time: datetime) -> int:
    """Since 1970."""
    since = time - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def time_span_of(reading_id: UUID) -> tuple[datetime, datetime]:
    """The millisecond, first instant included and last excluded, that an id was made in."""
    start = EPOCH + timedelta(milliseconds=reading_id.int >> 80)
    return start, start + timedelta(milliseconds=1)


def iter_values(payload: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a payload with its path: {"gps": {"lat": 1}} gives ("gps.lat", 1)."""
    if isinstance(payload, dict | list) and payload:
        items = payload.items() if isinstance(payload, dict) else enumerate(payload)
        for key, item in items:
            yield from iter_values(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, payload


def _parse_fast(sent: RawReading, device: bytes, bounds: ParseLimits) -> Reading | None:
    """The reading, in as few steps as there can be; None where there is any doubt."""
    time = sent.recorded_at
    try:
        recorded_at = timestamps.parse(time) if isinstance(time, str) else bounds.now
    except timestamps.InvalidTimestamp:
        return None
    canonicalize(sent.payload)
    json = to_json(sent.payload)
    if (
        bounds.earliest <= recorded_at <= bounds.latest
        and 2 < len(json) <= bounds.short
        and TELEMETRY_TYPE.fullmatch(sent.telemetry_type)
    ):
        microseconds = microseconds_of(recorded_at)
        return Reading(device, sent.telemetry_type, sent.payload, json, recorded_at, microseconds)
    return None


def _fields(sent: RawReading) -> dict[str, Any]:
    """What `sent` was decoded from."""
    found = msgspec.structs.asdict(sent)
    return {field: value for field, value in found.items() if value is not UNSET}


def _check_type(value: dict[str, Any], at: str) -> list[JSONError]:
    kind = value.get("telemetry_type")
    if isinstance(kind, str) and TELEMETRY_TYPE.fullmatch(kind):
        return []
    code = "invalid" if "telemetry_type" in value else "required"
    return [JSONError(f"{at}/telemetry_type", code, "1 to 64 of the characters A-Z a-z 0-9 _ -")]


def _check_payload(value: dict[str, Any], at: str) -> list[JSONError]:
    at += "/payload"
    if "payload" not in value:
        return [JSONError(at, "required", "A reading has a payload.")]
    if value["payload"] == {}:
        return [JSONError(at, "empty", "The payload says nothing.")]
    return validate_object(value["payload"], limit=settings.PAYLOAD_LIMIT, at=at)
