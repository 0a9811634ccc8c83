"""Raw COPY: what PostgreSQL itself takes, one connection, one commit for each batch.

The rows and their ids are made beforehand; building COPY's binary buffer is counted. There is no
HTTP, no check and no second delivery: a row that is there already fails the whole batch.
"""

import struct
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from benchmarks.bodies import Row
from benchmarks.database import Connection

COPY = """
    COPY telemetry (id, device_id, telemetry_type, payload, recorded_at, created_at)
    FROM STDIN (FORMAT binary)
"""
HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def copy(connection: Connection, batches: Sequence[Sequence[Row]]) -> float:
    """Store every batch and return the seconds it took."""
    started = time.perf_counter()
    for batch in batches:
        with connection.cursor().copy(COPY) as sink:
            sink.write(buffer(batch))
    return time.perf_counter() - started


def buffer(rows: Sequence[Row]) -> bytes:
    """The rows in COPY's binary form."""
    parts = [HEAD]
    for identity, device, kind, payload, recorded_at, created_at in rows:
        name, text = kind.encode(), payload.encode()
        parts.append(
            struct.pack(
                f">hi16si16si{len(name)}sib{len(text)}siqiq",
                6,
                16,
                identity.bytes,
                16,
                device.bytes,
                len(name),
                name,
                len(text) + 1,
                1,
                text,
                8,
                (recorded_at - POSTGRES_EPOCH) // MICROSECOND,
                8,
                (created_at - POSTGRES_EPOCH) // MICROSECOND,
            )
        )
    parts.append(END)
    return b"".join(parts)
