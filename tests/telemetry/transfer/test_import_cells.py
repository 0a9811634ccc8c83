"""Parsing cells of imported tables."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from common.timestamps import InvalidTimestamp
from telemetry.transfer.import_cells import parse_time, parse_value

BRUSSELS = ZoneInfo("Europe/Brussels")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2015-02-02T14:19:00+01:00", "2015-02-02T13:19:00Z"),
        ("2015-02-02T14:19:00.25Z", "2015-02-02T14:19:00.250000Z"),
        ("2015-02-02 14:19", "2015-02-02T13:19:00Z"),
        ("2015-02-02 14:19:59", "2015-02-02T13:19:59Z"),
        ("2015-02-02T14:19:59", "2015-02-02T13:19:59Z"),
        ("2015-02-02 14:19:59.000001", "2015-02-02T13:19:59.000001Z"),
        ("2015-02-02 14:19:59.1234567", "2015-02-02T13:19:59.123456Z"),
        ("2015/02/02 14:19:59", "2015-02-02T13:19:59Z"),
        ("2015/2/2 4:19", "2015-02-02T03:19:00Z"),
        ("02.03.2015 14:19", "2015-03-02T13:19:00Z"),
        ("02.03.2015 14:19:59", "2015-03-02T13:19:59Z"),
        ("1422883140", "2015-02-02T13:19:00Z"),
        ("1422883140.5", "2015-02-02T13:19:00.500000Z"),
        ("1422883140123", "2015-02-02T13:19:00.123000Z"),
        ("  2015-02-02 14:19 ", "2015-02-02T13:19:00Z"),
    ],
)
def test_a_time_without_an_offset_is_in_the_given_zone(text: str, time: str) -> None:
    assert parse_time(text, BRUSSELS) == datetime.fromisoformat(time)


@pytest.mark.parametrize(
    "text",
    [
        *("", "noon", "2015-02-02", "14:19", "2015-02/02 14:19", "02/03/2015 14:19", "-5"),
        *("2015-02-30 14:19", "2015-02-02 24:00", "31.04.2015 14:19", "99999999999999999"),
        *("0001-01-01 00:00", "٢015-02-02 14:19", "2015-02-02 14:19 CET"),
    ],
)
def test_an_invalid_time_is_rejected(text: str) -> None:
    with pytest.raises(InvalidTimestamp):
        parse_time(text, BRUSSELS)


def test_of_a_repeated_hour_the_first_is_used() -> None:
    assert parse_time("2025-10-26 02:30", BRUSSELS) == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)


def test_a_skipped_hour_is_rejected() -> None:
    with pytest.raises(InvalidTimestamp, match="The clocks in Europe/Brussels skipped this time"):
        parse_time("2025-03-30 02:30", BRUSSELS)
    assert parse_time("2025-03-30 03:00", BRUSSELS) == datetime(2025, 3, 30, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("21", 21), ("-3", -3), ("+3", 3), ("021", 21), ("21.50", 21.5), (".5", 0.5)),
        *(("5.", 5.0), ("1e3", 1000.0), ("-1.5E-3", -0.0015), (" 7 ", 7)),
        *(("true", True), ("FALSE", False), ("True", True)),
        *(("on", "on"), ("1_000", "1_000"), ("21,5", "21,5"), ("0x10", "0x10"), ("٢", "٢")),
        *(("Na", "Na"), ("infinite", "infinite"), ("1.2.3", "1.2.3"), ("-", "-")),
    ],
)
def test_a_cell_is_parsed_as_a_number_a_boolean_or_a_string(cell: str, value: Any) -> None:
    found = parse_value(cell)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "cell", ["", "  ", "NA", "NaN", "nan", "-NaN", "inf", "-Inf", "+Infinity", "INFINITY"]
)
def test_an_empty_cell_has_no_value(cell: str) -> None:
    assert parse_value(cell) is None
