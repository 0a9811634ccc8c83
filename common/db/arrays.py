"""Arrays as parameters of statements, in PostgreSQL's binary format."""

from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

ARRAY_HEAD = Struct(">iiIii")
"""Before the items of an array: one dimension, no null, of what type, how many, the first is 1."""


class EncodedArray(NamedTuple):
    """An array as a parameter of a statement."""

    data: bytes
    oid: int


class ArrayDumper(Dumper):
    """Hands an Array over as it is."""

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
    """Let a connection take Arrays."""
    connection.adapters.register_dumper(EncodedArray, ArrayDumper)


def encode_array(kind: str, items: Sequence[bytes]) -> EncodedArray:
    """An array of items that come each after its length."""
    info = types[kind]
    head = ARRAY_HEAD.pack(1, 0, info.oid, len(items), 1)
    return EncodedArray(head + b"".join(items), info.array_oid)


def length_prefix(item: bytes, more: int = 0) -> bytes:
    return (len(item) + more).to_bytes(4, "big")
