"""Files of readings: what each line of them says. No database.

Of a CSV file every row becomes one reading, whose payload holds the columns beside the time. It is
read twice and never held: `layout_of` judges its first rows, `rows` streams them all. What
telemetry.export has written, CSV or NDJSON, says of itself what its readings are.
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import Enum
from functools import partial
from itertools import islice, pairwise
from statistics import median, mode
from typing import IO, Any, NamedTuple
from uuid import UUID

from common import strict_json, timestamps
from common.strict_json import FLOAT_LIMIT, INTEGER_LIMIT, JSONError
from common.timestamps import MIN_TIMESTAMP
from telemetry.ingest import validation
from telemetry.ingest.validation import Reading
from telemetry.transfer import import_cells

HEAD, SAMPLE = 1000, 20
"""Rows by which the columns are judged, and lines by which the delimiter is."""
LINE_LIMIT = 1024 * 1024
"""Bytes; a longer line is no row, and a file without line ends would be held whole."""
BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t"
EXPORTED_NAMES = ["recorded_at", "telemetry_type", "payload"]
TIME_NAMES = {"date", "time", "date_time", "datetime", "timestamp", "recorded_at", "measured_at"}
KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Of a value that can be charted; a dot would read as a path into the payload."""
INTEGER = re.compile(r"\d+", re.ASCII)


class UnreadableFile(Exception):
    """No readings can be read from the file, or none from here on; the message says why."""


class RejectedRow(NamedTuple):
    """A row that is no reading: the line it begins on, counted from 1, and why."""

    line: int
    faults: list[JSONError]

    @property
    def reason(self) -> str:
        return " ".join(
            f"{fault.pointer[1:]}: {fault.detail}" if fault.pointer else fault.detail
            for fault in self.faults
        )


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """What the columns of a file are."""

    delimiter: str
    names: list[str]
    """Of every column, as the file has it; empty for one without a name."""
    keys: dict[int, str]
    """By the index of a column, the key of its values in the payload."""
    time: int
    """The index of the column with the time."""
    numbered: bool
    """Whether the first column is an unnamed running number, which is left out."""
    interval: int | None
    """Seconds between readings: the median of the first rows; None when they are of one time."""


class ExportFormat(Enum):
    """A file whose lines are whole readings."""

    CSV = "the columns that an export has"
    NDJSON = "a JSON object on each line"


class _InvalidRow(Exception):
    """A row cannot be understood."""

    def __init__(self, at: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = JSONError(at, code, detail)


def detect_layout(
    file: IO[bytes], *, time_column: str = "", delimiter: str = ""
) -> ColumnLayout | ExportFormat:
    """What the columns are: as given, else guessed by names and first rows. Raises NotReadable."""
    _, first = next(_raw_lines(file), (1, b""))
    if first.lstrip().startswith(b"{"):
        return ExportFormat.NDJSON
    if _cells(first.decode(errors="replace").rstrip(), ",") == EXPORTED_NAMES:
        return ExportFormat.CSV
    delimiter = delimiter or _guess_delimiter(file)
    names, head = _head(file, delimiter)
    names, numbered = _match_names(names, head)
    time = _find_time(names, head, wanted=time_column, start=int(numbered))
    keys = _keys({i: name for i, name in enumerate(names) if i != time and i >= numbered})
    if not keys:
        raise UnreadableFile(
            "There is one column only, and a reading needs a value beside its time."
        )
    interval = _interval(
        {found for row in head if (found := import_cells.plausible_time(row[time]))}
    )
    return ColumnLayout(delimiter, names, keys, time, numbered, interval)


def parse_rows(
    file: IO[bytes],
    *,
    layout: ColumnLayout | ExportFormat,
    device_id: UUID,
    telemetry_type: str,
    zone: tzinfo,
    now: datetime,
    earliest: datetime = MIN_TIMESTAMP,
) -> Iterator[Reading | RejectedRow]:
    """Every row of the file in turn, as a reading checked like any other or with what is wrong.

    `telemetry_type` is that of a row that does not name it, `zone` that of times without an
    offset. Lines with nothing on them are passed over.
    Raises NotReadable where the file cannot be read any further.
    """
    found, decode = _source(file, layout, telemetry_type, zone)
    for line, row in found:
        try:
            outcome = _parse(decode(row), device_id, now, earliest)
        except _InvalidRow as error:
            outcome = [error.fault]
        yield outcome if isinstance(outcome, Reading) else RejectedRow(line, outcome)


def parse_delimiter(name: str) -> str:
    """The character that a delimiter is given by; the tab has a name. Raises ValueError."""
    character = {"tab": "\t", "\\t": "\t"}.get(name, name)
    if len(character) > 1 or character in {'"', "\r", "\n", " "}:
        raise ValueError('One character, or "tab".')
    return character


def _raw_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    file.seek(0)
    for number, raw in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
        if len(raw) == LINE_LIMIT:
            raise UnreadableFile(f"Line {number} is longer than {LINE_LIMIT:,} bytes.")
        yield number, raw.removeprefix(BOM) if number == 1 else raw


def _lines(file: IO[bytes]) -> Iterator[str]:
    for _, raw in _raw_lines(file):
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            offset = file.tell() - len(raw) + error.start
            raise UnreadableFile(f"Not UTF-8 at byte {offset:,}.") from None


def _records(file: IO[bytes], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """The line each row begins on, and its cells, or why it has none."""
    reader = csv.reader(_lines(file), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is never closed takes the lines after it along.
            yield line, f"Not CSV up to line {reader.line_num:,}: {error}."
        else:
            if any(map(str.strip, cells)):
                yield line, cells


def _source(
    file: IO[bytes], layout: ColumnLayout | ExportFormat, telemetry_type: str, zone: tzinfo
) -> tuple[Iterator[tuple[int, Any]], Callable[[Any], Any]]:
    """The line that each row begins on with the row, and what makes a reading's value of a row."""
    match layout:
        case ExportFormat.NDJSON:
            lines = ((line, raw) for line, raw in _raw_lines(file) if not raw.isspace())
            return lines, _from_json
        case ExportFormat.CSV:
            return islice(_records(file, ","), 1, None), _from_exported
        case ColumnLayout():
            below_names = islice(_records(file, layout.delimiter), 1, None)
            decode = partial(_from_table, layout=layout, telemetry_type=telemetry_type, zone=zone)
            return below_names, decode


def _from_table(
    cells: list[str] | str, *, layout: ColumnLayout, telemetry_type: str, zone: tzinfo
) -> dict[str, Any]:
    """A row as the value that a device would have sent. Raises _NoReading."""
    cells = _checked(cells, len(layout.names))
    # Where a semicolon parts the columns, it does because the comma is in the numbers.
    comma = layout.delimiter == ";"
    found = {
        key: import_cells.parse_value(cells[i], decimal_comma=comma)
        for i, key in layout.keys.items()
    }
    try:
        time = import_cells.parse_time(cells[layout.time], zone)
    except timestamps.InvalidTimestamp as error:
        at = f"/{layout.names[layout.time] or 'time'}"
        raise _InvalidRow(at, "invalid-time", str(error)) from None
    return {
        "telemetry_type": telemetry_type,
        "payload": {key: value for key, value in found.items() if value is not None},
        "recorded_at": time.isoformat(),
    }


def _from_exported(cells: list[str] | str) -> dict[str, Any]:
    """A row of an export. Raises _NoReading."""
    recorded_at, telemetry_type, payload = _checked(cells, 3)
    return {
        "telemetry_type": telemetry_type.removeprefix("'"),
        "payload": _decoded(payload.encode(), at="/payload"),
        "recorded_at": recorded_at,
    }


def _from_json(line: bytes) -> Any:
    """A line of NDJSON. Raises _NoReading."""
    value = _decoded(line)
    if isinstance(value, dict) and value.get("recorded_at") is None:
        # The hour of the import would make it another reading each time.
        raise _InvalidRow("/recorded_at", "required", "A reading in a file has its time.")
    return value


def _decoded(text: bytes, *, at: str = "") -> Any:
    try:
        return strict_json.decode(text)
    except strict_json.JSONSyntaxError as error:
        raise _InvalidRow(at, "not-json", str(error)) from None


def _checked(cells: list[str] | str, width: int) -> list[str]:
    if isinstance(cells, str):
        raise _InvalidRow("", "not-csv", cells)
    if len(cells) != width:
        raise _InvalidRow("", "columns", f"Columns: {len(cells)} instead of {width}.")
    return cells


def _parse(
    value: Any, device_id: UUID, now: datetime, earliest: datetime
) -> Reading | list[JSONError]:
    found = validation.parse(value, device_id=device_id, now=now, earliest=earliest)
    if isinstance(found, list) and all(fault.code == "number-too-large" for fault in found):
        value = _with_floats(value)
        return validation.parse(value, device_id=device_id, now=now, earliest=earliest)
    return found


def _with_floats(value: Any) -> Any:
    """The value with those integers made floats that PostgreSQL has made of them: 1e20."""
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    if isinstance(value, int) and INTEGER_LIMIT < abs(value) <= FLOAT_LIMIT:
        number = float(value)
        return number if int(Decimal(repr(number))) == value else value
    return value


def _guess_delimiter(file: IO[bytes]) -> str:
    """The one by which most lines have as many cells as there are names, or one more."""
    sample = [line.rstrip("\r\n") for line in islice(_lines(file), SAMPLE)]

    def fitting(delimiter: str) -> tuple[int, int]:
        names, *widths = (len(_cells(line, delimiter)) for line in sample or [""])
        return (sum(width - names in (0, 1) for width in widths), names) if names > 1 else (-1, 0)

    return max(DELIMITERS, key=fitting)


def _cells(line: str, delimiter: str) -> list[str]:
    """What is in a line; nothing in one that is no CSV."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []


def _head(file: IO[bytes], delimiter: str) -> tuple[list[str], list[list[str]]]:
    """The names in the first line and the first rows, those of the usual width."""
    records = (cells for _, cells in islice(_records(file, delimiter), HEAD + 1))
    names = next(records, "The file is empty.")
    if isinstance(names, str):
        raise UnreadableFile(names)
    if any(import_cells.plausible_time(name) for name in names):
        raise UnreadableFile("The first line holds a time; it must name the columns.")
    found = [cells for cells in records if not isinstance(cells, str)]
    if not found:
        raise UnreadableFile("There are no rows below the names of the columns.")
    width = mode(map(len, found))
    return [name.strip() for name in names], [row for row in found if len(row) == width]


def _match_names(names: list[str], head: list[list[str]]) -> tuple[list[str], bool]:
    """A name for every column, and whether the first is a running number: R does not name it."""
    width = len(head[0])
    integers = all(INTEGER.fullmatch(row[0].strip()) for row in head)
    if len(names) == width - 1 and integers:
        return ["", *names], True
    if len(names) != width:
        raise UnreadableFile(f"The first line names {len(names)} columns, the rows have {width}.")
    return names, integers and not names[0]


def _find_time(names: list[str], head: list[list[str]], *, wanted: str, start: int) -> int:
    """The column named `wanted`; else the first with a time's name and times; else of times."""
    if wanted and wanted not in names:
        raise UnreadableFile(f"There is no column {wanted!r} among {names[start:]}.")
    columns = range(start, len(names))
    for index in columns:
        name = names[index] if wanted else _sanitised(names[index]).lower()
        if name in ({wanted} if wanted else TIME_NAMES) and any(
            import_cells.plausible_time(row[index]) for row in head
        ):
            return index
    for index in () if wanted else columns:
        if all(import_cells.plausible_time(row[index]) for row in head):
            return index
    places = [wanted] if wanted else names[start:]
    raise UnreadableFile(f"No times from {MIN_TIMESTAMP.year} on that can be read in {places}.")


def _interval(seen: set[datetime]) -> int | None:
    spacings = [(later - earlier).total_seconds() for earlier, later in pairwise(sorted(seen))]
    return max(1, round(median(spacings))) if spacings else None


def _keys(names: dict[int, str]) -> dict[int, str]:
    """By the index of a column, a key made of its name, every one another."""
    keys: dict[int, str] = {}
    # Names that can stay as they are come first: none of the others may take one of theirs.
    for index in sorted(names, key=lambda i: not KEY.fullmatch(names[i])):
        key = stem = _sanitised(names[index])[:64] or f"column_{index + 1}"
        count = 1
        while key in keys.values():
            count += 1
            key = f"{stem[:58]}_{count}"
        keys[index] = key
    return keys


def _sanitised(name: str) -> str:
    if KEY.fullmatch(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_")
