"""Parse the rows of an import file. This module does not access the database.

Every row of a CSV file becomes one reading whose payload has the columns other than the time. The
file is read twice and never loaded as a whole: `detect_layout` reads the first rows, `parse_rows`
reads all rows. Files written by export.py, CSV or NDJSON, need no layout.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import IO, Any, NamedTuple
from uuid import UUID

from common import strict_json, timestamps
from common.strict_json import FLOAT_LIMIT, INTEGER_LIMIT, JSONError
from common.timestamps import MIN_TIMESTAMP
from telemetry.ingest import validation
from telemetry.ingest.validation import ParsedReading
from telemetry.transfer import import_cells, import_layout
from telemetry.transfer.import_layout import ColumnLayout, ExportFormat


class RejectedRow(NamedTuple):
    """A row that is not a valid reading: its first line, counted from 1, and its errors."""

    line: int
    faults: list[JSONError]

    @property
    def reason(self) -> str:
        """Return all errors as one text."""
        return " ".join(
            f"{fault.pointer[1:]}: {fault.detail}" if fault.pointer else fault.detail
            for fault in self.faults
        )


class _InvalidRow(Exception):
    """The row cannot be parsed."""

    def __init__(self, at: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = JSONError(at, code, detail)


def parse_rows(
    file: IO[bytes],
    *,
    layout: ColumnLayout | ExportFormat,
    device_id: UUID,
    telemetry_type: str,
    zone: tzinfo,
    now: datetime,
    earliest: datetime = MIN_TIMESTAMP,
) -> Iterator[ParsedReading | RejectedRow]:
    """Yield every row of the file as a validated reading or with its errors.

    `telemetry_type` is used for rows without a type, `zone` for times without an offset. Empty
    lines are skipped. Raises UnreadableFile if the file cannot be read any further.
    """
    rows, decode = _row_decoder(file, layout, telemetry_type, zone)
    for line, row in rows:
        try:
            parsed = _parse(decode(row), device_id, now, earliest)
        except _InvalidRow as error:
            parsed = [error.fault]
        yield parsed if isinstance(parsed, ParsedReading) else RejectedRow(line, parsed)


def _row_decoder(
    file: IO[bytes], layout: ColumnLayout | ExportFormat, telemetry_type: str, zone: tzinfo
) -> tuple[Iterator[tuple[int, Any]], Callable[[Any], Any]]:
    """Return the rows with their line numbers, and the function that decodes a row."""
    match layout:
        case ExportFormat.NDJSON:
            lines = import_layout.raw_lines(file)
            return ((line, raw) for line, raw in lines if not raw.isspace()), _from_json
        case ExportFormat.CSV:
            return islice(import_layout.records(file, ","), 1, None), _from_exported
        case ColumnLayout():
            rows = islice(import_layout.records(file, layout.delimiter), 1, None)
            decode = partial(_from_columns, layout=layout, telemetry_type=telemetry_type, zone=zone)
            return rows, decode


def _from_columns(
    cells: list[str] | str, *, layout: ColumnLayout, telemetry_type: str, zone: tzinfo
) -> dict[str, Any]:
    """Return a row as the JSON object that a device would send. Raises _InvalidRow."""
    cells = _checked(cells, len(layout.names))
    # With semicolons between the columns, numbers have a decimal comma.
    decimal_comma = layout.delimiter == ";"
    values = {
        key: import_cells.parse_value(cells[index], decimal_comma=decimal_comma)
        for index, key in layout.keys.items()
    }
    try:
        time = import_cells.parse_time(cells[layout.time], zone)
    except timestamps.InvalidTimestamp as error:
        at = f"/{layout.names[layout.time] or 'time'}"
        raise _InvalidRow(at, "invalid-time", str(error)) from None
    return {
        "telemetry_type": telemetry_type,
        "payload": {key: value for key, value in values.items() if value is not None},
        "recorded_at": time.isoformat(),
    }


def _from_exported(cells: list[str] | str) -> dict[str, Any]:
    """Return a row of an export as a JSON object. Raises _InvalidRow."""
    recorded_at, telemetry_type, payload = _checked(cells, 3)
    return {
        "telemetry_type": telemetry_type.removeprefix("'"),
        "payload": _decoded(payload.encode(), at="/payload"),
        "recorded_at": recorded_at,
    }


def _from_json(line: bytes) -> Any:
    """Return the value of a line of NDJSON. Raises _InvalidRow."""
    value = _decoded(line)
    if isinstance(value, dict) and value.get("recorded_at") is None:
        # With the time of the import, each import would store the reading again.
        raise _InvalidRow("/recorded_at", "required", "A reading in a file needs a time.")
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
) -> ParsedReading | list[JSONError]:
    parsed = validation.parse(value, device_id=device_id, now=now, earliest=earliest)
    if isinstance(parsed, list) and all(fault.code == "number-too-large" for fault in parsed):
        value = _with_floats(value)
        return validation.parse(value, device_id=device_id, now=now, earliest=earliest)
    return parsed


def _with_floats(value: Any) -> Any:
    """Return the value with large integers as floats: PostgreSQL exports 1e20 as an integer."""
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    if isinstance(value, int) and INTEGER_LIMIT < abs(value) <= FLOAT_LIMIT:
        number = float(value)
        return number if int(Decimal(repr(number))) == value else value
    return value
