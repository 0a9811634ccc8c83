"""RFC 3339 times, read strictly."""

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
"""The form that nearly every time comes in, and that Python itself reads."""

MIN_TIMESTAMP = datetime(2000, 1, 1, tzinfo=UTC)
"""A device whose clock was never set says 1970; nothing older than this is a measurement."""


class InvalidTimestamp(ValueError):
    """Not RFC 3339 with an offset."""


def parse(text: object) -> datetime:
    """The instant in UTC, kept to the microsecond; a leap second is the second after it.

    Raises NotATime.
    """
    try:
        if isinstance(text, str) and FAST_FORMAT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    return _parse_full(text)


def max_timestamp(now: datetime) -> datetime:
    """The last instant that a device may name: its clock may run ahead a little."""
    return now + timedelta(seconds=settings.MAX_CLOCK_SKEW_SECONDS)


def range_error(time: datetime, *, now: datetime, earliest: datetime = MIN_TIMESTAMP) -> str:
    """Why an instant that a device names cannot be one; nothing if it can."""
    if earliest <= time <= max_timestamp(now):
        return ""
    if earliest > MIN_TIMESTAMP:
        return (
            f"Between {format_timestamp(earliest)}, before which nothing is kept,"
            f" and now, {format_timestamp(now)}."
        )
    return f"Between {MIN_TIMESTAMP.year} and now, which is {format_timestamp(now)}."


def format_timestamp(time: datetime) -> str:
    """The form of every time in an answer: UTC, microseconds, Z."""
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
