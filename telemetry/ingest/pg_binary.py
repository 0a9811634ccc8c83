"""Encode readings in PostgreSQL's binary formats: as rows for COPY and as arrays.

The text formats would need every value to be escaped here and parsed by PostgreSQL. This module
does not access the database.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from common.db.arrays import EncodedArray, encode_array, length_prefix
from telemetry.ingest.validation import ParsedReading, microseconds_of

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
ROW = b"\0\6\0\0\0\x10%b\0\0\0\x10%b%b%b%b\1%b\0\0\0\x08%b\0\0\0\x08%b"
"""Six fields, each preceded by its length. A jsonb value is also preceded by its version, 1."""
UUID_LENGTH, TIME_LENGTH = b"\0\0\0\x10", b"\0\0\0\x08"
MICROSECONDS_TO_2000 = microseconds_of(datetime(2000, 1, 1, tzinfo=UTC))
"""PostgreSQL counts timestamps from the year 2000."""


def encode_timestamp(microseconds: int) -> bytes:
    """Return the binary timestamp for a number of microseconds since 1970."""
    return (microseconds - MICROSECONDS_TO_2000).to_bytes(8, "big", signed=True)


def encode_copy_row(id: bytes, reading: ParsedReading, created_at: bytes) -> bytes:
    """Return a row for COPY: id, device, type, payload, recorded_at, created_at.

    The format is described in PostgreSQL's manual (COPY, "Binary Format").
    """
    telemetry_type, json = reading.telemetry_type.encode(), reading.json
    return ROW % (
        id,
        reading.device,
        length_prefix(telemetry_type),
        telemetry_type,
        length_prefix(json, 1),
        json,
        encode_timestamp(reading.microseconds),
        created_at,
    )


def encode_arrays(readings: Sequence[ParsedReading]) -> dict[str, EncodedArray]:
    """Return one array per column, by its parameter name in the INSERT statement."""
    types = [reading.telemetry_type.encode() for reading in readings]
    return {
        "id": encode_array("uuid", [UUID_LENGTH + reading.id_bytes() for reading in readings]),
        "type": encode_array("text", [length_prefix(name) + name for name in types]),
        "payload": encode_array(
            "jsonb", [length_prefix(reading.json, 1) + b"\1" + reading.json for reading in readings]
        ),
        "time": encode_array(
            "timestamptz",
            [TIME_LENGTH + encode_timestamp(reading.microseconds) for reading in readings],
        ),
    }
