"""Cells of a file of readings: the times and the values that they name."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from common import timestamps
from common.timestamps import MIN_TIMESTAMP
from telemetry.ingest.validation import EPOCH

MILLISECONDS_FROM = 1e11
"""A Unix time from here on counts milliseconds: in seconds it would be the year 5138."""
# Only the first group is an integer; one of more digits is beyond what any number may be.
NUMBER = re.compile(r"([+-]?\d{1,40})|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
MISSING = re.compile(r"|NA|(?i:[+-]?(?:nan|inf|infinity))")
UNIX_TIME = re.compile(r"\d{1,17}(?:\.\d{1,9})?", re.ASCII)
# What is read most, and then by Python itself.
ISO = re.compile(
    r"\d{4}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?", re.ASCII
)
PARTS = ("year", "month", "day", "hour", "minute")
CLOCK = r"[Tt ](?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,12}))?)?"
YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})(?P<by>[-/])(?P<month>\d\d?)(?P=by)(?P<day>\d\d?){CLOCK}", re.ASCII
)
DAY_FIRST = re.compile(rf"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{{4}}){CLOCK}", re.ASCII)


def parse_time(cell: str, zone: tzinfo) -> datetime:
    """The instant in UTC that a cell names: RFC 3339; the year or the day first, in `zone`; or
    Unix seconds or milliseconds. Of an hour that the clocks repeat it is the first.

    Raises NotATime, also for an hour that the clocks skip.
    """
    text = cell.strip()
    if local := _local_time(text):
        return _in_zone(local, zone)
    if UNIX_TIME.fullmatch(text):
        return _from_unix(float(text))
    if timestamps.RFC_3339.fullmatch(text):
        return timestamps.parse(text)
    raise timestamps.InvalidTimestamp(
        f"{text[:40]!r} is not a time." if text else "There is no time."
    )


def parse_value(cell: str, *, decimal_comma: bool = False) -> int | float | bool | str | None:
    """What a cell says: a number, true or false, else a text; None when it is missing."""
    text = cell.strip()
    digits = text.replace(",", ".") if decimal_comma else text
    if match := NUMBER.fullmatch(digits):
        # A number beyond a double becomes infinite, and the row is refused for it.
        return int(digits) if match[1] else float(digits)
    if MISSING.fullmatch(text):
        return None
    return {"true": True, "false": False}.get(text.lower(), text)


def plausible_time(cell: str) -> datetime | None:
    """The time, or None: a small number is a time of 1970 too, and yet none was meant."""
    try:
        time = parse_time(cell, UTC)
    except timestamps.InvalidTimestamp:
        return None
    return time if time >= MIN_TIMESTAMP else None


def _local_time(text: str) -> datetime | None:
    """The time without a zone; None if it has not the form of one. Raises NotATime."""
    try:
        if ISO.fullmatch(text):
            return datetime.fromisoformat(text)
        if match := YEAR_FIRST.fullmatch(text) or DAY_FIRST.fullmatch(text):
            year, month, day, hour, minute = (int(match[name]) for name in PARTS)
            microsecond = int((match["fraction"] or "")[:6].ljust(6, "0"))
            second = int(match["second"] or 0)
            return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001
    except ValueError:
        raise timestamps.InvalidTimestamp("There is no such day or time.") from None
    return None


def _in_zone(local: datetime, zone: tzinfo) -> datetime:
    """The first instant at which clocks in the zone show this. Raises NotATime."""
    try:
        time = local.replace(tzinfo=zone).astimezone(UTC)
        returned = time.astimezone(zone)
    except OverflowError:
        raise timestamps.InvalidTimestamp("There is no such day or time.") from None
    # Python gives a skipped hour an instant too; only that it does not come back tells.
    if returned.replace(tzinfo=None) != local:
        raise timestamps.InvalidTimestamp(f"The clocks in {zone} skipped this time.")
    return time


def _from_unix(number: float) -> datetime:
    unit = "milliseconds" if number >= MILLISECONDS_FROM else "seconds"
    try:
        return EPOCH + timedelta(**{unit: number})
    except OverflowError:
        raise timestamps.InvalidTimestamp("There is no such time.") from None
