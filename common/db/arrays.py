"""Arrays as parameters of SQL statements, in PostgreSQL's binary format."""

from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

ARRAY_HEAD = Struct(">iiIii")
"""Array header: one dimension, no nulls, type of the items, their number, lower bound 1."""


class EncodedArray(NamedTuple):
    """A binary array and the type of the array."""

    data: bytes
    oid: int


class ArrayDumper(Dumper):
    """Passes an EncodedArray to PostgreSQL unchanged."""

    format = Format.BINARY

    def get_key(self, obj: EncodedArray, format: Any) -> Any:
        return (self.cls, obj.oid)

    def upgrade(self, obj: EncodedArray, format: Any) -> "ArrayDumper":
        dumper = ArrayDumper(self.cls)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: EncodedArray) -> bytes:
        return obj.data


def register(connection: Connection[Any]) -> None:
    """Let a connection accept EncodedArray parameters."""
    connection.adapters.register_dumper(EncodedArray, ArrayDumper)


def encode_array(type_name: str, items: Sequence[bytes]) -> EncodedArray:
    """Return an array of items, each of which starts with its length (`length_prefix`)."""
    info = types[type_name]
    head = ARRAY_HEAD.pack(1, 0, info.oid, len(items), 1)
    return EncodedArray(head + b"".join(items), info.array_oid)


def length_prefix(item: bytes, extra: int = 0) -> bytes:
    """Return the length of an item, with `extra` bytes that follow it, as 4 bytes."""
    return (len(item) + extra).to_bytes(4, "big")
