"""Export readings as files, oldest first. PostgreSQL builds the lines.

import_parser.py reads NDJSON and CSV with a row for each reading. CSV with a column for each key is
for spreadsheets. A text that a spreadsheet would run as a formula gets a ' as its first character.
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

FETCH_SIZE = 500
"""Number of rows per fetch; with the largest payloads these are about ten megabytes."""
TIMEOUT_MS = 30_000
"""Timeout for each fetch; the readings of a rare type may be far apart."""
UNSAFE_IN_FILE_NAMES = re.compile(r"[^\w.-]+")
MAX_NAME_LENGTH = 60
STATISTICS = Columns._fields
SeriesChunks = Iterable[tuple[Sequence[int], Mapping[str, Sequence[Sequence[float | None]]]]]
"""Chunks of a series: bucket starts in Unix seconds, and by key the columns named in STATISTICS."""
BUCKETS_PER_CHUNK = 1000

MAX_SECONDS = 600.0
"""Maximum time to write a file."""
CHECK_INTERVAL_BYTES = 16 * 1024 * 1024
"""Number of written bytes after which the file size and the free disk space are checked."""


class ExportTooLarge(Exception):
    """The file would exceed EXPORT_LIMIT bytes or take longer than MAX_SECONDS."""


class Selection(NamedTuple):
    """Selects readings; `end` is excluded."""

    device: Device
    telemetry_type: str = ""
    start: datetime | None = None
    end: datetime | None = None


TIME_SQL = """to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _escape_formula_sql(text: str) -> str:
    """Return SQL that prevents a spreadsheet from running a text as a formula."""
    is_formula = rf"left({text}, 1) IN ('=', '+', '-', '@', E'\t', E'\r', E'\n')"
    return f"CASE WHEN {is_formula} THEN '''' ELSE '' END || {text}"


def _quoted(text: str) -> str:
    """Return SQL for a text as a quoted CSV cell."""
    return f"""'"' || replace({text}, '"', '""') || '"'"""


# A telemetry type has no character that needs quotes, and PostgreSQL writes JSON without line ends.
LINE_SQL: dict[Format, str] = {
    "csv": f"{TIME_SQL} || ',' || {_escape_formula_sql('telemetry_type')}"
    f" || ',' || {_quoted('payload::text')}",
    "ndjson": f"""'{{"telemetry_type": "' || telemetry_type || '", "payload": ' || payload::text
        || ', "recorded_at": "' || {TIME_SQL} || '"}}'""",
}
HEADERS: dict[Format, bytes] = {"csv": b"recorded_at,telemetry_type,payload\n", "ndjson": b""}


def write(chunks: Iterable[bytes], file: IO[bytes]) -> None:
    """Write a complete export to a file. Raises ExportTooLarge, quotas.DiskFull.

    Because of the file, a slow client does not occupy a thread or a transaction.
    """
    size, checked_size = 0, 0
    deadline = time.monotonic() + MAX_SECONDS
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise ExportTooLarge
        size += file.write(chunk)
        if size - checked_size >= CHECK_INTERVAL_BYTES:
            checked_size = size
            if size > settings.EXPORT_LIMIT:
                raise ExportTooLarge
            quotas.check_disk()
    file.seek(0)


def export_readings(selection: Selection, *, format: Format) -> Generator[bytes]:
    """Return the readings in a format that can be imported again.

    In NDJSON each line is valid for ingest; in CSV the payload is JSON in a cell.
    """
    return _stream(HEADERS[format], *_query(selection, LINE_SQL[format]))


def export_table(selection: Selection, *, keys: Sequence[str]) -> Generator[bytes]:
    """Return CSV with the time and a column for each key ("<type>.<path>").

    Readings without any of the keys are left out. The path is looked up as one key first, then by
    its parts.
    """
    types, paths = zip(*(key.split(".", 1) for key in keys), strict=True)
    names = [f"value_{number}" for number in range(len(keys))]
    params: dict[str, Any] = {"types": list(types)}
    leaves = []
    for name, telemetry_type, path in zip(names, types, paths, strict=True):
        params |= {
            f"{name}_type": telemetry_type,
            f"{name}_key": path,
            f"{name}_path": path.split("."),
        }
        leaves.append(
            f"CASE WHEN telemetry_type = %({name}_type)s"
            f" THEN {json_leaf_sql(f'%({name}_key)s', f'%({name}_path)s')} END AS {name}"
        )
    query, selection_params = _query(
        selection,
        " || ',' || ".join([TIME_SQL, *map(_cell, names)]),
        source=f"telemetry, LATERAL (SELECT {', '.join(leaves)}) AS leaves",
        condition=f"telemetry_type = ANY (%(types)s) AND coalesce({', '.join(names)}) IS NOT NULL",
    )
    header = ",".join(["recorded_at", *map(_label, keys)]) + "\n"
    return _stream(header.encode(), query, {**selection_params, **params})


def export_buckets(
    selection: Selection, *, keys: Sequence[str], step: int, now: datetime, format: Format
) -> Generator[bytes]:
    """Return the hourly or daily values (UTC) of some keys, as in charts; `step` is in seconds."""
    since = Key.objects.filter(device=selection.device).aggregate(since=Min("since"))["since"]
    available_from = AvailableFrom.for_device(selection.device)
    # Where hours are deleted, a day would appear as the hour of its noon.
    first = max(since or now, available_from.hours if step < buckets.DAY else MIN_TIMESTAMP)
    start = max(selection.start or first, first)
    end = min(selection.end or now, timestamps.max_timestamp(now))
    encode = {"csv": _to_csv, "ndjson": _to_ndjson}[format]
    return encode(_series(selection.device, keys, start, end, step, available_from), keys=keys)


def _to_ndjson(chunks: SeriesChunks, *, keys: Sequence[str]) -> Generator[bytes]:
    """Yield NDJSON with a line for each bucket: its start, and by key its aggregates."""
    for starts, columns in chunks:
        for number, start in enumerate(starts):
            values = {
                key: {
                    name: column[number]
                    for name, column in zip(STATISTICS, columns[key], strict=True)
                }
                for key in keys
            }
            yield to_json({"recorded_at": _format_unix(start), "values": values}) + b"\n"


def _to_csv(chunks: SeriesChunks, *, keys: Sequence[str]) -> Generator[bytes]:
    """Yield CSV with the start of each bucket and four columns for each key.

    Missing values are empty.
    """
    labels = (f"{_label(key)} {name}" for key in keys for name in STATISTICS)
    yield ",".join(["recorded_at", *labels]).encode() + b"\n"
    for starts, columns in chunks:
        cells = (column for key in keys for column in columns[key])
        lines = [
            ",".join([_format_unix(start), *map(_format_number, numbers)])
            for start, *numbers in zip(starts, *cells, strict=True)
        ]
        if lines:
            yield "\n".join([*lines, ""]).encode()


def _series(
    device: Device,
    keys: Sequence[str],
    start: datetime,
    end: datetime,
    step: int,
    available_from: AvailableFrom,
) -> Generator[tuple[Sequence[int], Mapping[str, Columns]]]:
    """Yield the series of a range in chunks of BUCKETS_PER_CHUNK."""
    length = timedelta(seconds=step)
    until = rollups.floor(start, length)
    while start < end:
        until = until + BUCKETS_PER_CHUNK * length
        span = (start, min(until, end))
        result = series.query_series_by_step(
            device, keys=keys, start=span[0], end=span[1], step=step, available_from=available_from
        )
        yield result.timestamps, result.columns
        start = until


def file_name(device: Device, format: Format) -> str:
    """Return a file name from the device's name that is valid on every system."""
    name = UNSAFE_IN_FILE_NAMES.sub("_", device.name)[:MAX_NAME_LENGTH].strip("._")
    return f"{name or 'readings'}.{format}"


def _cell(leaf: str) -> str:
    """Return SQL for a JSON value as a CSV cell; empty if the value is missing."""
    text = f"({leaf} #>> '{{}}')"
    return f"""CASE jsonb_typeof({leaf})
        WHEN 'number' THEN {text}
        WHEN 'boolean' THEN {text}
        WHEN 'string' THEN {_quoted(f"({_escape_formula_sql(text)})")}
        WHEN 'object' THEN {_quoted(text)}
        WHEN 'array' THEN {_quoted(text)}
        ELSE '' END"""


def _format_unix(seconds: int) -> str:
    return timestamps.format_timestamp(datetime.fromtimestamp(seconds, UTC))


def _format_number(value: float | None) -> str:
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
    """  # noqa: S608 - built from constants only
    return query, {**selection._asdict(), "device": selection.device.pk}


def _stream(header: bytes, query: str, params: dict[str, Any]) -> Generator[bytes]:
    """Yield the header with the first lines, then further lines, all from one snapshot.

    The query has its own connection, so that an aborted export leaves no open transaction.
    """
    own_connection = connection.copy()
    try:
        own_connection.set_autocommit(False)
        with own_connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {TIMEOUT_MS}")
        with own_connection.chunked_cursor() as cursor:
            cursor.execute(query, params)
            lines = cursor.fetchmany(FETCH_SIZE)
            yield header + _joined(lines)
            while lines := cursor.fetchmany(FETCH_SIZE):
                yield _joined(lines)
    finally:
        own_connection.close()


def _joined(rows: Sequence[tuple[str]]) -> bytes:
    return "".join([line for (line,) in rows]).encode()
