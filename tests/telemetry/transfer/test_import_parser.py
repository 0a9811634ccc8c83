"""Detecting the layout of imported tables and parsing their rows."""

import io
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any, BinaryIO
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from telemetry.ingest import validation
from telemetry.ingest.validation import ParsedReading
from telemetry.transfer.import_layout import ColumnLayout, UnreadableFile, detect_layout
from telemetry.transfer.import_parser import RejectedRow, parse_rows
from tests.factories import NOW

DEVICE = UUID("6f1c0c5e-8f0a-4c53-9d6b-0d8f2b6a7c11")
BRUSSELS = ZoneInfo("Europe/Brussels")
OFFICE = (
    b'"date","Temperature","Light","Occupancy"\n'
    b'"140","2015-02-02 14:19:00",23.7,585.2,1\n'
    b'"141","2015-02-02 14:19:59",23.718,578.4,1\n'
    b'"142","2015-02-02 14:21:00",23.73,572.666666666667,0\n'
)


def read(
    file: bytes | BinaryIO, *, zone: Any = UTC, delimiter: str = ""
) -> list[ParsedReading | RejectedRow]:
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    layout = detect_layout(file, delimiter=delimiter)
    return list(
        parse_rows(file, layout=layout, device_id=DEVICE, telemetry_type="m", zone=zone, now=NOW)
    )


def layout(text: str, **given: str) -> ColumnLayout:
    found = detect_layout(io.BytesIO(text.encode()), **given)
    assert isinstance(found, ColumnLayout)
    return found


def payloads(file: bytes) -> list[Any]:
    return [
        found.payload if isinstance(found, ParsedReading) else found.reason for found in read(file)
    ]


def refusals(file: bytes, **given: Any) -> list[tuple[int, str]]:
    return [
        (found.line, found.reason)
        for found in read(file, **given)
        if isinstance(found, RejectedRow)
    ]


def test_with_semicolons_as_delimiter_the_comma_is_decimal() -> None:
    file = b"time;temp;note\n02.02.2015 14:19;21,5;a,b\n02.02.2015 14:20;-0,25;1,2,3\n"

    assert payloads(file) == [
        {"temp": 21.5, "note": "a,b"},
        {"temp": -0.25, "note": "1,2,3"},
    ]


def test_with_any_other_delimiter_the_comma_is_not_decimal() -> None:
    assert payloads(b"time\ttemp\n2015-02-02 14:19\t21,5\n") == [{"temp": "21,5"}]


def test_spaces_around_cells_are_removed() -> None:
    file = b'time, a, "b, c"\n2015-02-02 14:19, 5 , "x, y"\n'

    assert payloads(file) == [{"a": 5, "b_c": "x, y"}]


def test_a_first_column_without_a_header_is_skipped() -> None:
    assert layout(OFFICE.decode()).numbered
    assert payloads(OFFICE)[0] == {"Temperature": 23.7, "Light": 585.2, "Occupancy": 1}


def test_a_row_number_with_an_empty_name_is_skipped() -> None:
    file = b",time,a\n0,2015-02-02 14:19,5\n1,2015-02-02 14:20,6\n"

    assert payloads(file) == [{"a": 5}, {"a": 6}]


def test_another_column_with_an_empty_name_is_kept() -> None:
    assert payloads(b",time,a\nx,2015-02-02 14:19,5\n") == [{"column_1": "x", "a": 5}]


@pytest.mark.parametrize(
    "file",
    [
        "time,a\nattic,2015-02-02 14:19,5\n",
        "time,a\n1,2,2015-02-02 14:19,5\n",
        "time,a,b\n2015-02-02 14:19,5\n",
    ],
)
def test_a_header_with_another_number_of_columns_is_rejected(file: str) -> None:
    with pytest.raises(UnreadableFile, match=r"The first line has \d names, but the rows have \d"):
        layout(file)


def test_a_truncated_first_row_is_ignored_when_the_layout_is_detected() -> None:
    file = b"time,a\n2015-02-02 14:18\n2015-02-02 14:19,5\n2015-02-02 14:20,6\n"

    assert payloads(file) == ["Columns: 1 instead of 2.", {"a": 5}, {"a": 6}]


def test_an_imported_reading_equals_the_one_parsed_by_the_api() -> None:
    sent = {
        "telemetry_type": "m",
        "payload": {"Temperature": 23.7, "Light": 585.2, "Occupancy": 1.0},
        "recorded_at": "2015-02-02T13:19:00Z",
    }

    assert read(OFFICE, zone=BRUSSELS)[0] == validation.parse(sent, device_id=DEVICE, now=NOW)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("a,Date,time,b", "Date"),
        ("a,b,recorded_at,c", "recorded_at"),
        ("a,b,Date/Time,c", "Date/Time"),
        ("a,when,since,c", "when"),
    ],
)
def test_the_time_column_is_detected_by_name_and_then_by_values(header: str, name: str) -> None:
    row = "5,2015-02-02 14:19,2015-02-02 14:20,6"

    found = layout(f"{header}\n{row}\n{row}\n")

    assert found.names[found.time] == name


def test_a_name_without_times_is_not_a_time_column() -> None:
    found = layout("time,stamp,date\n0,2015-02-02 14:19,x\n10,2015-02-02 14:20,x\n")

    assert found.names[found.time] == "stamp"


def test_a_column_with_one_invalid_time_is_not_a_time_column() -> None:
    with pytest.raises(
        UnreadableFile, match=r"readable times since 2000\. Searched: \['stamp', 'a'\]"
    ):
        layout("stamp,a\n2015-02-02 14:19,5\nlater,6\n")


def test_a_row_number_is_not_listed_as_a_possible_time_column() -> None:
    with pytest.raises(UnreadableFile, match=r": \['a', 'b'\]"):
        layout("a,b\n1,5,6\n2,5,6\n")


def test_only_a_given_time_column_is_used() -> None:
    text = "time,seen,a\n2015-02-02 14:19,2015-02-02 14:20,5\n"

    assert layout(text, time_column="seen").time == 1
    with pytest.raises(UnreadableFile, match=r"readable times since 2000\. Searched: \['a'\]"):
        layout(text, time_column="a")
    with pytest.raises(UnreadableFile, match="There is no column 'b'"):
        layout(text, time_column="b")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_detected(delimiter: str) -> None:
    text = "time,a,b\n2015-02-02 14:19,5,6\n2015-02-02 14:20,5,6\n"

    assert layout(text.replace(",", delimiter)).delimiter == delimiter


def test_without_a_clear_pattern_the_delimiter_of_the_first_line_is_used() -> None:
    rows = "2015-02-02 14:19;5\n2015-02-02 14:20;6\n2015-02-02 14:21;6;7;8\nx;1,2,3\n"

    assert layout("time;a\n" + rows).delimiter == ";"


def test_apostrophes_do_not_change_the_detected_delimiter() -> None:
    rows = "2015-02-02 14:19,it's on; don't\n2015-02-02 14:20,it's; 'off'\n"

    assert layout("time,note\n" + rows).delimiter == ","


def test_a_given_delimiter_is_used() -> None:
    file = b"time|a,b\n2015-02-02 14:19|5\n"

    assert isinstance(read(file, delimiter="|")[0], ParsedReading)
    with pytest.raises(UnreadableFile):
        read(file)


def test_column_names_become_unique_keys() -> None:
    header = 'time,Temp (°C),Temp_C,CO₂ [ppm],"Luft,Zürich",gps.lat,日,a,a,' + "x" * 70

    found = layout(f"{header}\n2015-02-02 14:19,1,2,3,4,5,6,7,8,9\n")

    assert list(dict(sorted(found.keys.items())).values()) == [
        *("Temp_C_2", "Temp_C", "CO2_ppm", "Luft_Zurich", "gps_lat", "column_7", "a", "a_2"),
        "x" * 64,
    ]


@pytest.mark.parametrize(
    ("seconds", "interval"),
    [
        ([0, 59, 120, 180, 3600], 60),
        ([180, 120, 60, 0], 60),
        ([0, 0, 10, 10, 20], 10),
        ([0, 0.2, 0.4], 1),
        ([0], None),
        ([0, 0], None),
    ],
)
def test_the_interval_is_the_median_spacing_in_whole_seconds(
    seconds: list[float], interval: int | None
) -> None:
    times = [NOW - timedelta(days=1) + timedelta(seconds=number) for number in seconds]
    text = "time,a\n" + "".join(f"{time.isoformat()},5\n" for time in times)

    assert layout(text).interval == interval


def test_each_rejected_row_has_its_first_line_and_a_reason() -> None:
    file = (
        b"time,a,note\n"
        b'2015-02-02 14:19,5,"two\nlines"\n'
        b"\n"
        b",,\n"
        b"noon,5,x\n"
        b"2015-02-02 14:20,5\n"
        b"1970-01-01 00:00,5,x\n"
        b"2025-06-17 12:00,5,x\n"
        b"2015-02-02 14:21,9007199254740993,x\n"
        b"2015-02-02 14:22,1e400,x\n"
        b"2015-02-02 14:23,NA,\n"
        b',5,"\n'
    )

    assert refusals(file) == [
        (6, "time: 'noon' is not a time."),
        (7, "Columns: 2 instead of 3."),
        (8, "recorded_at: Must be between 2000 and now, 2025-06-15T12:00:00.000000Z."),
        (9, "recorded_at: Must be between 2000 and now, 2025-06-15T12:00:00.000000Z."),
        (10, "payload/a: An integer beyond ±2^53 cannot be stored exactly as a double."),
        (
            11,
            "payload/a: NaN, Infinity and numbers beyond the range of a double are not valid JSON.",
        ),
        (12, "payload: The payload must not be empty."),
        (13, "Not CSV up to line 13: unexpected end of data."),
    ]
    assert len(read(file)) == 9


def test_a_number_with_thousands_of_digits_is_rejected() -> None:
    assert len(refusals(b"time,a\n2015-02-02 14:19," + b"9" * 5000 + b"\n")) == 1


def test_parsing_continues_after_a_row_that_is_not_csv() -> None:
    file = b'time,a\n2015-02-02 14:18,4\n2015-02-02 14:19,"5"5\n2015-02-02 14:20,6\n'

    assert [type(found) for found in read(file)] == [ParsedReading, RejectedRow, ParsedReading]


def test_a_byte_order_mark_and_windows_line_ends_are_ignored() -> None:
    file = b"\xef\xbb\xbftime,a\r\n2015-02-02 14:19,5\r\n"

    assert layout(file.decode()).names == ["time", "a"]
    assert payloads(file) == [{"a": 5}]


def test_a_file_in_another_encoding_is_rejected_with_the_position_of_the_byte() -> None:
    with pytest.raises(UnreadableFile, match="Not UTF-8 at byte 8"):
        detect_layout(io.BytesIO("time,a,ö\n".encode("latin-1").replace(b"a,", b"ab,")))
    with pytest.raises(UnreadableFile, match="Not UTF-8 at byte 0"):
        detect_layout(io.BytesIO("time,a\n".encode("utf-16")))


def test_rows_before_an_invalid_byte_are_parsed() -> None:
    head = b"time,a\n" + b"2015-02-02 14:19,5\n" * 1500
    file = io.BytesIO(head + b"2015-02-02 14:20,\xff\n")
    found = parse_rows(
        file, layout=detect_layout(file), device_id=DEVICE, telemetry_type="m", zone=UTC, now=NOW
    )

    assert sum(isinstance(next(found), ParsedReading) for _ in range(1500)) == 1500
    with pytest.raises(UnreadableFile, match=f"byte {len(head) + 17:,}"):
        next(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The file is empty"),
        ("\n\n", "The file is empty"),
        ("time,a\n", "The file has no rows"),
        ("time\n2015-02-02 14:19\n2015-02-02 14:20\n", "The file has only one column"),
        ("2015-02-02 14:19,5\n2015-02-02 14:20,6\n", "The first line contains a time"),
        ('time,"a\n2015-02-02 14:19,5\n', "Not CSV up to line 2"),
        ("time,a\n" + "x" * (1024 * 1024) + "\n", "Line 2 is longer than 1,048,576 bytes"),
    ],
)
def test_an_unreadable_file_is_rejected_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        layout(text)


def test_a_file_is_streamed() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.taken += 1
            return super().readline(size)

    file = Counting(b"time,a\n" + b"2015-02-02 14:19,5\n" * 5000)
    layout = detect_layout(file)
    judged = file.taken
    found: Iterator[Any] = parse_rows(
        file, layout=layout, device_id=DEVICE, telemetry_type="m", zone=UTC, now=NOW
    )
    next(found)

    assert judged < 1100
    assert file.taken - judged == 2


@pytest.mark.parametrize("text", ["time,temp\r2026-01-01T00:00:00Z,1\r", "a" * 200_000 + "\n1,2\n"])
def test_a_first_line_that_is_not_csv_is_rejected(text: str) -> None:
    with pytest.raises(UnreadableFile):
        layout(text)


def test_unclosed_quotes_are_rejected_quickly() -> None:
    hostile = "time,temp\n2026-01-01T00:00:00Z," + ',"a' * 100_000 + "\n"
    with pytest.raises(UnreadableFile):
        layout(hostile)
