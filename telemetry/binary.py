"""Readings in the binary forms in which PostgreSQL takes them, as rows for COPY and as arrays.

The text forms would have to be escaped here and parsed there, value by value. No database here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

from telemetry.readings import Reading, microseconds_of

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
ROW = b"\0\6\0\0\0\x10%b\0\0\0\x10%b%b%b%b\1%b\0\0\0\x08%b\0\0\0\x08%b"
"""Six fields, each after its length; jsonb comes after the version of its form, 1."""
ARRAY = Struct(">iiIii")
"""Before the items of an array: one dimension, no null, of what type, how many, the first is 1."""
UUID_LENGTH, TIME_LENGTH = b"\0\0\0\x10", b"\0\0\0\x08"
MICROSECONDS_TO_2000 = microseconds_of(datetime(2000, 1, 1, tzinfo=UTC))
"""Where PostgreSQL counts from."""


class Array(NamedTuple):
    """An array as a parameter of a statement."""

    data: bytes
    oid: int


class ArrayDumper(Dumper):
    """Hands an Array over as it is."""

    format = Format.BINARY

    def get_key(self, obj: Array, format: Any) -> Any:
        return (self.cls, obj.oid)

    def upgrade(self, obj: Array, format: Any) -> "ArrayDumper":
        dumper = ArrayDumper(self.cls)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: Array) -> bytes:
        return obj.data


def register(connection: Connection[Any]) -> None:
    """Let a connection take Arrays."""
    connection.adapters.register_dumper(Array, ArrayDumper)


def timestamp(microseconds: int) -> bytes:
    """The instant that is so many microseconds after 1970."""
    return (microseconds - MICROSECONDS_TO_2000).to_bytes(8, "big", signed=True)


def row(id: bytes, reading: Reading, created_at: bytes) -> bytes:
    """A row for COPY (PostgreSQL, COPY, "Binary Format"): id, device, type, payload, both times."""
    kind, json = reading.telemetry_type.encode(), reading.json
    return ROW % (
        id,
        reading.device,
        _length(kind),
        kind,
        _length(json, 1),
        json,
        timestamp(reading.microseconds),
        created_at,
    )


def arrays(readings: Sequence[Reading]) -> dict[str, Array]:
    """The columns in which readings differ, by their names in the statement that stores them."""
    kinds = [one.telemetry_type.encode() for one in readings]
    return {
        "id": _array("uuid", [UUID_LENGTH + one.id_bytes() for one in readings]),
        "type": _array("text", [_length(kind) + kind for kind in kinds]),
        "payload": _array("jsonb", [_length(one.json, 1) + b"\1" + one.json for one in readings]),
        "time": _array(
            "timestamptz", [TIME_LENGTH + timestamp(one.microseconds) for one in readings]
        ),
    }


def _array(kind: str, items: Sequence[bytes]) -> Array:
    """An array of items that come each after its length."""
    info = types[kind]
    head = ARRAY.pack(1, 0, info.oid, len(items), 1)
    return Array(head + b"".join(items), info.array_oid)


def _length(item: bytes, more: int = 0) -> bytes:
    return (len(item) + more).to_bytes(4, "big")
