"""Readings as files, oldest first: made by PostgreSQL line by line.

CSV with a row for each reading and NDJSON are what telemetry.import_file reads; CSV with a column
for each key is for people. A text that a spreadsheet would take for a formula gets a ' before it.
"""

import re
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Literal, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Min

from common import quotas, timestamps
from common.timestamps import MIN_TIMESTAMP
from devices.models import Device
from telemetry.ingest.validation import to_json
from telemetry.models import Key
from telemetry.queries import buckets, series
from telemetry.queries.json_values_sql import json_leaf_sql
from telemetry.queries.series import Columns
from telemetry.rollups import build as rollups
from telemetry.rollups.build import AvailableFrom

Format = Literal["csv", "ndjson"]

ROWS = 500
"""Fetched at once; with payloads of the largest kind these are some ten megabytes."""
TIMEOUT_MS = 30_000
"""For each ROWS; those of a rare type may be far apart."""
NOT_IN_FILE_NAMES = re.compile(r"[^\w.-]+")
NAME_LENGTH = 60
STATISTICS = Columns._fields
Pieces = Iterable[tuple[Sequence[int], Mapping[str, Sequence[Sequence[float | None]]]]]
"""Of a series: when buckets begin in Unix seconds, and by key the columns STATISTICS names."""
BUCKETS = 1000
"""Of a series, made at once."""

LONGEST = 600.0
"""Seconds that a file may take to be made."""
CHECKED_AFTER = 16 * 1024 * 1024
"""Bytes of a file after which its size and the room on the disk are looked at."""


class ExportTooLarge(Exception):
    """The file would have more bytes than EXPORT_LIMIT, or take longer than LONGEST."""


class Selection(NamedTuple):
    """Which readings; `end` is excluded."""

    device: Device
    telemetry_type: str = ""
    start: datetime | None = None
    end: datetime | None = None


TIME = """to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _escape_formula_sql(text: str) -> str:
    """SQL: a text as a cell shows it, and not what it computes."""
    formula = rf"left({text}, 1) IN ('=', '+', '-', '@', E'\t', E'\r', E'\n')"
    return f"CASE WHEN {formula} THEN '''' ELSE '' END || {text}"


def _quoted(text: str) -> str:
    """SQL: a text as a cell of CSV."""
    return f"""'"' || replace({text}, '"', '""') || '"'"""


# A telemetry type holds no character that needs quotes, and JSON from PostgreSQL no line end.
LINES: dict[Format, str] = {
    "csv": f"{TIME} || ',' || {_escape_formula_sql('telemetry_type')}"
    f" || ',' || {_quoted('payload::text')}",
    "ndjson": f"""'{{"telemetry_type": "' || telemetry_type || '", "payload": ' || payload::text
        || ', "recorded_at": "' || {TIME} || '"}}'""",
}
HEADERS: dict[Format, bytes] = {"csv": b"recorded_at,telemetry_type,payload\n", "ndjson": b""}


def write(pieces: Iterable[bytes], file: IO[bytes]) -> None:
    """Write an export to a file, whole or not at all. Raises TooLarge, quotas.DiskFull.

    A client that reads slowly so holds a file, and neither a thread nor a transaction.
    """
    size, checked = 0, 0
    deadline = time.monotonic() + LONGEST
    for piece in pieces:
        if time.monotonic() > deadline:
            raise ExportTooLarge
        size += file.write(piece)
        if size - checked >= CHECKED_AFTER:
            checked = size
            if size > settings.EXPORT_LIMIT:
                raise ExportTooLarge
            quotas.check_disk()
    file.seek(0)


def export_readings(selection: Selection, *, format: Format) -> Generator[bytes]:
    """The readings as they can be imported again.

    In NDJSON each is what the ingest takes; in CSV the payload is JSON in a cell.
    """
    return _stream(HEADERS[format], *_query(selection, LINES[format]))


def export_table(selection: Selection, *, keys: Sequence[str]) -> Generator[bytes]:
    """CSV with the time and a column for each key ("<type>.<path>"), of the readings that have
    one of them. A value is found under the whole path as a key, else by its parts.
    """
    types, paths = zip(*(key.split(".", 1) for key in keys), strict=True)
    names = [f"value_{number}" for number in range(len(keys))]
    arguments: dict[str, Any] = {"types": list(types)}
    leaves = []
    for name, kind, path in zip(names, types, paths, strict=True):
        arguments |= {f"{name}_type": kind, f"{name}_key": path, f"{name}_path": path.split(".")}
        leaves.append(
            f"CASE WHEN telemetry_type = %({name}_type)s"
            f" THEN {json_leaf_sql(f'%({name}_key)s', f'%({name}_path)s')} END AS {name}"
        )
    query, span = _query(
        selection,
        " || ',' || ".join([TIME, *map(_cell, names)]),
        source=f"telemetry, LATERAL (SELECT {', '.join(leaves)}) AS leaves",
        condition=f"telemetry_type = ANY (%(types)s) AND coalesce({', '.join(names)}) IS NOT NULL",
    )
    header = ",".join(["recorded_at", *map(_label, keys)]) + "\n"
    return _stream(header.encode(), query, {**span, **arguments})


def export_buckets(
    selection: Selection, *, keys: Sequence[str], step: int, now: datetime, format: Format
) -> Generator[bytes]:
    """The hours or days (UTC) of some keys, as charts show them; `step` is in seconds."""
    known = Key.objects.filter(device=selection.device).aggregate(since=Min("since"))["since"]
    kept = AvailableFrom.of(selection.device)
    # Where hours are gone, days would be shown in the hour of their noon.
    first = max(known or now, kept.hours if step < buckets.DAY else MIN_TIMESTAMP)
    start = max(selection.start or first, first)
    end = min(selection.end or now, timestamps.max_timestamp(now))
    made = {"csv": _to_csv, "ndjson": _to_ndjson}[format]
    return made(_series(selection.device, keys, start, end, step, kept), keys=keys)


def _to_ndjson(pieces: Pieces, *, keys: Sequence[str]) -> Generator[bytes]:
    """NDJSON with a line for each bucket: when it begins, and by key what its values come to."""
    for beginnings, columns in pieces:
        for number, beginning in enumerate(beginnings):
            values = {
                key: {
                    name: column[number]
                    for name, column in zip(STATISTICS, columns[key], strict=True)
                }
                for key in keys
            }
            yield to_json({"recorded_at": _shown(beginning), "values": values}) + b"\n"


def _to_csv(pieces: Pieces, *, keys: Sequence[str]) -> Generator[bytes]:
    """CSV with the time at which each bucket begins and four columns for each key.

    What a bucket has not is empty.
    """
    labels = (f"{_label(key)} {name}" for key in keys for name in STATISTICS)
    yield ",".join(["recorded_at", *labels]).encode() + b"\n"
    for beginnings, columns in pieces:
        cells = (column for key in keys for column in columns[key])
        lines = [
            ",".join([_shown(beginning), *map(_number, numbers)])
            for beginning, *numbers in zip(beginnings, *cells, strict=True)
        ]
        if lines:
            yield "\n".join([*lines, ""]).encode()


def _series(
    device: Device,
    keys: Sequence[str],
    start: datetime,
    end: datetime,
    step: int,
    kept: AvailableFrom,
) -> Generator[tuple[Sequence[int], Mapping[str, Columns]]]:
    """The series of a range, BUCKETS at a time."""
    length = timedelta(seconds=step)
    until = rollups.floor(start, length)
    while start < end:
        until = until + BUCKETS * length
        span = (start, min(until, end))
        found = series.query_series_by_step(
            device, keys=keys, start=span[0], end=span[1], step=step, kept=kept
        )
        yield found.t, found.columns
        start = until


def file_name(device: Device, format: Format) -> str:
    """The device's name as far as it can be that of a file anywhere."""
    name = NOT_IN_FILE_NAMES.sub("_", device.name)[:NAME_LENGTH].strip("._")
    return f"{name or 'readings'}.{format}"


def _cell(leaf: str) -> str:
    """SQL: a JSON value as a cell of CSV; nothing for one that is missing."""
    text = f"({leaf} #>> '{{}}')"
    return f"""CASE jsonb_typeof({leaf})
        WHEN 'number' THEN {text}
        WHEN 'boolean' THEN {text}
        WHEN 'string' THEN {_quoted(f"({_escape_formula_sql(text)})")}
        WHEN 'object' THEN {_quoted(text)}
        WHEN 'array' THEN {_quoted(text)}
        ELSE '' END"""


def _shown(beginning: int) -> str:
    return timestamps.format_timestamp(datetime.fromtimestamp(beginning, UTC))


def _number(value: float | None) -> str:
    return "" if value is None else str(value)


def _label(key: str) -> str:
    return f"'{key}" if key.startswith("-") else key


def _query(
    selection: Selection, line: str, *, source: str = "telemetry", condition: str = "true"
) -> tuple[str, dict[str, Any]]:
    conditions = ["device_id = %(device)s", condition]
    if selection.telemetry_type:
        conditions.append("telemetry_type = %(telemetry_type)s")
    if selection.start:
        conditions.append("recorded_at >= %(start)s")
    if selection.end:
        conditions.append("recorded_at < %(end)s")
    query = f"""
        SELECT {line} || E'\\n' FROM {source} WHERE {" AND ".join(conditions)}
        ORDER BY recorded_at, id
    """  # noqa: S608 - put together of constants
    return query, {**selection._asdict(), "device": selection.device.pk}


def _stream(header: bytes, query: str, arguments: dict[str, Any]) -> Generator[bytes]:
    """The header with the first lines, then more of them, all from one snapshot.

    On a connection of its own, so that whatever ends the export leaves no transaction behind.
    """
    own = connection.copy()
    try:
        own.set_autocommit(False)
        with own.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {TIMEOUT_MS}")
        with own.chunked_cursor() as cursor:
            cursor.execute(query, arguments)
            lines = cursor.fetchmany(ROWS)
            yield header + _joined(lines)
            while lines := cursor.fetchmany(ROWS):
                yield _joined(lines)
    finally:
        own.close()


def _joined(rows: Sequence[tuple[str]]) -> bytes:
    return "".join([line for (line,) in rows]).encode()
