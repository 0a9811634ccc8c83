"""Strict parsing of RFC 3339 timestamps."""

import re
from datetime import UTC, datetime, timedelta

from django.conf import settings

RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):(\d\d)"
    r"(\.\d{1,12})?([Zz]|[+-]\d\d:[0-5]\d)",
    re.ASCII,
)
FAST_FORMAT = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z", re.ASCII
)
"""The most common format, which `datetime.fromisoformat` parses."""

MIN_TIMESTAMP = datetime(2000, 1, 1, tzinfo=UTC)
"""A device whose clock was never set sends 1970; older timestamps are not measurements."""


class InvalidTimestamp(ValueError):
    """The text is not an RFC 3339 timestamp with an offset."""


def parse(text: object) -> datetime:
    """Return the time in UTC, cut off at microseconds. A leap second becomes the next second.

    Raises InvalidTimestamp.
    """
    try:
        if isinstance(text, str) and FAST_FORMAT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    return _parse_full(text)


def max_timestamp(now: datetime) -> datetime:
    """Return the latest timestamp that a device may send: its clock may be ahead a little."""
    return now + timedelta(seconds=settings.MAX_CLOCK_SKEW_SECONDS)


def range_error(time: datetime, *, now: datetime, earliest: datetime = MIN_TIMESTAMP) -> str:
    """Return why a device's timestamp is out of range, or "" if it is in range."""
    if earliest <= time <= max_timestamp(now):
        return ""
    if earliest > MIN_TIMESTAMP:
        return (
            f"Must be between {format_timestamp(earliest)} and now, {format_timestamp(now)}."
            " Older readings are not stored."
        )
    return f"Must be between {MIN_TIMESTAMP.year} and now, {format_timestamp(now)}."


def format_timestamp(time: datetime) -> str:
    """Format a time for a response: UTC, microseconds, Z."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _parse_full(text: object) -> datetime:
    if not isinstance(text, str) or not (match := RFC_3339.fullmatch(text)):
        raise InvalidTimestamp("Not an RFC 3339 time with an offset, like 2026-01-31T12:00:00.5Z.")
    day, minute, second, fraction, offset = match.groups(default="")
    leap = second == "60"
    try:
        time = datetime.fromisoformat(
            f"{day}T{minute}:{'59' if leap else second}{fraction[:7]}{offset.upper()}"
        ).astimezone(UTC)
        return time.replace(microsecond=0) + timedelta(seconds=1) if leap else time
    except (ValueError, OverflowError):
        raise InvalidTimestamp("There is no such day, time or offset.") from None
