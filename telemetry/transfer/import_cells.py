"""Parse the times and values in the cells of an import file."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from common import timestamps
from common.timestamps import MIN_TIMESTAMP
from telemetry.ingest.validation import EPOCH

MILLISECONDS_FROM = 1e11
"""A Unix time from this number on is in milliseconds: in seconds it would be the year 5138."""
# The first group is an integer. An integer of more digits would exceed every limit.
NUMBER = re.compile(r"([+-]?\d{1,40})|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
MISSING = re.compile(r"|NA|(?i:[+-]?(?:nan|inf|infinity))")
UNIX_TIME = re.compile(r"\d{1,17}(?:\.\d{1,9})?", re.ASCII)
# The most frequent format, which datetime.fromisoformat parses.
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
    """Return the time in a cell in UTC.

    Formats are RFC 3339; local time in `zone` with the year or the day first; Unix seconds or
    milliseconds. If the clocks repeat an hour, the first one is meant. Raises InvalidTimestamp,
    also for an hour that the clocks skip.
    """
    text = cell.strip()
    if local := _local_time(text):
        return _in_zone(local, zone)
    if UNIX_TIME.fullmatch(text):
        return _from_unix(float(text))
    if timestamps.RFC_3339.fullmatch(text):
        return timestamps.parse(text)
    raise timestamps.InvalidTimestamp(
        f"{text[:40]!r} is not a time." if text else "The time is missing."
    )


def parse_value(cell: str, *, decimal_comma: bool = False) -> int | float | bool | str | None:
    """Return the value of a cell: a number, a boolean or a text; None if it is missing."""
    text = cell.strip()
    digits = text.replace(",", ".") if decimal_comma else text
    if match := NUMBER.fullmatch(digits):
        # A number too large for a double becomes infinite; the row is then rejected.
        return int(digits) if match[1] else float(digits)
    if MISSING.fullmatch(text):
        return None
    return {"true": True, "false": False}.get(text.lower(), text)


def plausible_time(cell: str) -> datetime | None:
    """Return the time if it is in a plausible range, else None.

    A small number would be a time in 1970, but is probably not a time.
    """
    try:
        time = parse_time(cell, UTC)
    except timestamps.InvalidTimestamp:
        return None
    return time if time >= MIN_TIMESTAMP else None


def _local_time(text: str) -> datetime | None:
    """Return a time without a zone, or None for another format. Raises InvalidTimestamp."""
    try:
        if ISO.fullmatch(text):
            return datetime.fromisoformat(text)
        if match := YEAR_FIRST.fullmatch(text) or DAY_FIRST.fullmatch(text):
            year, month, day, hour, minute = (int(match[name]) for name in PARTS)
            microsecond = int((match["fraction"] or "")[:6].ljust(6, "0"))
            second = int(match["second"] or 0)
            return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001
    except ValueError:
        raise timestamps.InvalidTimestamp("This date or time does not exist.") from None
    return None


def _in_zone(local: datetime, zone: tzinfo) -> datetime:
    """Return the first instant with this local time in the zone. Raises InvalidTimestamp."""
    try:
        time = local.replace(tzinfo=zone).astimezone(UTC)
        converted_back = time.astimezone(zone)
    except OverflowError:
        raise timestamps.InvalidTimestamp("This date or time does not exist.") from None
    # Python also converts a skipped time; converting back then gives another local time.
    if converted_back.replace(tzinfo=None) != local:
        raise timestamps.InvalidTimestamp(f"The clocks in {zone} skipped this time.")
    return time


def _from_unix(number: float) -> datetime:
    unit = "milliseconds" if number >= MILLISECONDS_FROM else "seconds"
    try:
        return EPOCH + timedelta(**{unit: number})
    except OverflowError:
        raise timestamps.InvalidTimestamp("This time does not exist.") from None
