"""Raw COPY: what PostgreSQL itself takes, one connection, one commit for each batch.

The rows and their ids are made beforehand; building COPY's binary buffer is counted. There is no
HTTP, no check and no second delivery: a row that is there already fails the whole batch.
"""

import struct
import time
from collections.abc import Sequence
from functools import cache

from psycopg import sql

from benchmarks.bodies import Row
from benchmarks.database import Connection

INTO = """
    COPY {} (id, device_id, telemetry_type, payload, recorded_at, created_at)
    FROM STDIN (FORMAT binary)
"""
COPY = sql.SQL(INTO).format(sql.Identifier("telemetry"))
HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
POSTGRES_EPOCH = 946_684_800_000_000
"""The year 2000 in microseconds since 1970."""


def copy(connection: Connection, batches: Sequence[Sequence[Row]]) -> float:
    """Store every batch and return the seconds it took."""
    started = time.perf_counter()
    for batch in batches:
        with connection.cursor().copy(COPY) as sink:
            sink.write(b"".join([HEAD, *(row(*fields) for fields in batch), END]))
    return time.perf_counter() - started


def row(
    identity: bytes, device: bytes, kind: bytes, payload: bytes, recorded_at: int, created_at: int
) -> bytes:
    """A row in COPY's binary form; times in microseconds since 1970."""
    return _layout(len(kind), len(payload)).pack(
        *(6, 16, identity, 16, device, len(kind), kind, len(payload) + 1, 1, payload),
        *(8, recorded_at - POSTGRES_EPOCH, 8, created_at - POSTGRES_EPOCH),
    )


@cache
def _layout(kind: int, payload: int) -> struct.Struct:
    # Each field after its length; jsonb is JSON text after the number of its version.
    return struct.Struct(f">hi16si16si{kind}sib{payload}siqiq")
