"""Readings in the binary forms in which PostgreSQL takes them, as rows for COPY and as arrays.

The text forms would have to be escaped here and parsed there, value by value. No database here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from common.db.arrays import EncodedArray, encode_array, length_prefix
from telemetry.ingest.validation import Reading, microseconds_of

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
ROW = b"\0\6\0\0\0\x10%b\0\0\0\x10%b%b%b%b\1%b\0\0\0\x08%b\0\0\0\x08%b"
"""Six fields, each after its length; jsonb comes after the version of its form, 1."""
UUID_LENGTH, TIME_LENGTH = b"\0\0\0\x10", b"\0\0\0\x08"
MICROSECONDS_TO_2000 = microseconds_of(datetime(2000, 1, 1, tzinfo=UTC))
"""Where PostgreSQL counts from."""


def encode_timestamp(microseconds: int) -> bytes:
    """The instant that is so many microseconds after 1970."""
    return (microseconds - MICROSECONDS_TO_2000).to_bytes(8, "big", signed=True)


def encode_copy_row(id: bytes, reading: Reading, created_at: bytes) -> bytes:
    """A row for COPY (PostgreSQL, COPY, "Binary Format"): id, device, type, payload, both times."""
    kind, json = reading.telemetry_type.encode(), reading.json
    return ROW % (
        id,
        reading.device,
        length_prefix(kind),
        kind,
        length_prefix(json, 1),
        json,
        encode_timestamp(reading.microseconds),
        created_at,
    )


def encode_arrays(readings: Sequence[Reading]) -> dict[str, EncodedArray]:
    """The columns in which readings differ, by their names in the statement that stores them."""
    kinds = [one.telemetry_type.encode() for one in readings]
    return {
        "id": encode_array("uuid", [UUID_LENGTH + one.id_bytes() for one in readings]),
        "type": encode_array("text", [length_prefix(kind) + kind for kind in kinds]),
        "payload": encode_array(
            "jsonb", [length_prefix(one.json, 1) + b"\1" + one.json for one in readings]
        ),
        "time": encode_array(
            "timestamptz", [TIME_LENGTH + encode_timestamp(one.microseconds) for one in readings]
        ),
    }
