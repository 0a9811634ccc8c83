"""Detect the columns of an import file. This module does not access the database.

The file is read line by line and never loaded as a whole. The layout is guessed from the names of
the columns and from the first rows.
"""

import csv
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import islice, pairwise
from statistics import median, mode
from typing import IO

from common.timestamps import MIN_TIMESTAMP
from telemetry.transfer import import_cells

SAMPLE_ROWS = 1000
"""Number of rows from which the columns are guessed."""
SAMPLE_LINES = 20
"""Number of lines from which the delimiter is guessed."""
LINE_LIMIT = 1024 * 1024
"""Maximum bytes of a line. Without it, a file without line ends would be loaded as a whole."""
BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t"
EXPORTED_NAMES = ["recorded_at", "telemetry_type", "payload"]
TIME_NAMES = {"date", "time", "date_time", "datetime", "timestamp", "recorded_at", "measured_at"}
KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""A key that can be charted; a dot would separate the parts of a path."""
INTEGER = re.compile(r"\d+", re.ASCII)


class UnreadableFile(Exception):
    """The file cannot be read, or not any further; the message has the reason."""


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a CSV file."""

    delimiter: str
    names: list[str]
    """The name of every column in the file; empty for a column without a name."""
    keys: dict[int, str]
    """The payload key of each column with values, by the index of the column."""
    time: int
    """The index of the column with the time."""
    numbered: bool
    """Whether the first column is an unnamed row number, which is skipped."""
    interval: int | None
    """Median seconds between readings in the first rows; None if they all have one time."""


class ExportFormat(Enum):
    """A file whose lines are complete readings."""

    CSV = "the columns of an export"
    NDJSON = "a JSON object on each line"


def detect_layout(
    file: IO[bytes], *, time_column: str = "", delimiter: str = ""
) -> ColumnLayout | ExportFormat:
    """Return the layout of a file; guess what is not given. Raises UnreadableFile."""
    _, first = next(raw_lines(file), (1, b""))
    if first.lstrip().startswith(b"{"):
        return ExportFormat.NDJSON
    if _cells(first.decode(errors="replace").rstrip(), ",") == EXPORTED_NAMES:
        return ExportFormat.CSV
    delimiter = delimiter or _guess_delimiter(file)
    names, rows = _head(file, delimiter)
    names, numbered = _match_names(names, rows)
    time = _find_time(names, rows, time_column=time_column, start=int(numbered))
    keys = _keys({i: name for i, name in enumerate(names) if i != time and i >= numbered})
    if not keys:
        raise UnreadableFile(
            "The file has only one column. A reading needs a time and at least one value."
        )
    times = {parsed for row in rows if (parsed := import_cells.plausible_time(row[time]))}
    return ColumnLayout(delimiter, names, keys, time, numbered, _interval(times))


def parse_delimiter(name: str) -> str:
    """Return the delimiter for an option value; "tab" means a tab. Raises ValueError."""
    character = {"tab": "\t", "\\t": "\t"}.get(name, name)
    if len(character) > 1 or character in {'"', "\r", "\n", " "}:
        raise ValueError('Must be one character, or "tab".')
    return character


def raw_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers, from 1. Raises UnreadableFile."""
    file.seek(0)
    for number, raw in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
        if len(raw) == LINE_LIMIT:
            raise UnreadableFile(f"Line {number} is longer than {LINE_LIMIT:,} bytes.")
        yield number, raw.removeprefix(BOM) if number == 1 else raw


def records(file: IO[bytes], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line of each CSV row, and its cells or an error message.

    Empty rows are skipped. Raises UnreadableFile.
    """
    reader = csv.reader(_lines(file), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is never closed includes the lines after it.
            yield line, f"Not CSV up to line {reader.line_num:,}: {error}."
        else:
            if any(map(str.strip, cells)):
                yield line, cells


def _lines(file: IO[bytes]) -> Iterator[str]:
    for _, raw in raw_lines(file):
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            offset = file.tell() - len(raw) + error.start
            raise UnreadableFile(f"Not UTF-8 at byte {offset:,}.") from None


def _guess_delimiter(file: IO[bytes]) -> str:
    """Return the delimiter with which most lines have as many cells as names, or one more."""
    sample = [line.rstrip("\r\n") for line in islice(_lines(file), SAMPLE_LINES)]

    def score(delimiter: str) -> tuple[int, int]:
        names, *widths = (len(_cells(line, delimiter)) for line in sample or [""])
        return (sum(width - names in (0, 1) for width in widths), names) if names > 1 else (-1, 0)

    return max(DELIMITERS, key=score)


def _cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; an empty list if it is not CSV."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []


def _head(file: IO[bytes], delimiter: str) -> tuple[list[str], list[list[str]]]:
    """Return the names in the first line, and the first rows that have the usual width."""
    head = (cells for _, cells in islice(records(file, delimiter), SAMPLE_ROWS + 1))
    names = next(head, "The file is empty.")
    if isinstance(names, str):
        raise UnreadableFile(names)
    if any(import_cells.plausible_time(name) for name in names):
        raise UnreadableFile("The first line contains a time; it must have the column names.")
    rows = [cells for cells in head if not isinstance(cells, str)]
    if not rows:
        raise UnreadableFile("The file has no rows after the column names.")
    width = mode(map(len, rows))
    return [name.strip() for name in names], [row for row in rows if len(row) == width]


def _match_names(names: list[str], rows: list[list[str]]) -> tuple[list[str], bool]:
    """Return a name for every column, and whether the first column is a row number.

    Files written by R have row numbers without a name in the first line.
    """
    width = len(rows[0])
    integers = all(INTEGER.fullmatch(row[0].strip()) for row in rows)
    if len(names) == width - 1 and integers:
        return ["", *names], True
    if len(names) != width:
        raise UnreadableFile(
            f"The first line has {len(names)} names, but the rows have {width} columns."
        )
    return names, integers and not names[0]


def _find_time(names: list[str], rows: list[list[str]], *, time_column: str, start: int) -> int:
    """Return the index of the time column. Raises UnreadableFile.

    This is the column with the given name; or the first column with a usual name and times; or the
    first column with only times.
    """
    if time_column and time_column not in names:
        raise UnreadableFile(f"There is no column {time_column!r} among {names[start:]}.")
    columns = range(start, len(names))
    for index in columns:
        name = names[index] if time_column else _sanitized(names[index]).lower()
        if name in ({time_column} if time_column else TIME_NAMES) and any(
            import_cells.plausible_time(row[index]) for row in rows
        ):
            return index
    for index in () if time_column else columns:
        if all(import_cells.plausible_time(row[index]) for row in rows):
            return index
    searched = [time_column] if time_column else names[start:]
    raise UnreadableFile(
        f"No column with readable times since {MIN_TIMESTAMP.year}. Searched: {searched}."
    )


def _interval(times: set[datetime]) -> int | None:
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(sorted(times))]
    return max(1, round(median(gaps))) if gaps else None


def _keys(names: dict[int, str]) -> dict[int, str]:
    """Return a unique payload key for each column name, by the index of the column."""
    keys: dict[int, str] = {}
    # Names that are valid keys come first, so that no other column gets one of them.
    for index in sorted(names, key=lambda i: not KEY.fullmatch(names[i])):
        key = stem = _sanitized(names[index])[:64] or f"column_{index + 1}"
        count = 1
        while key in keys.values():
            count += 1
            key = f"{stem[:58]}_{count}"
        keys[index] = key
    return keys


def _sanitized(name: str) -> str:
    if KEY.fullmatch(name):
        return name
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", ascii_name).strip("_")
