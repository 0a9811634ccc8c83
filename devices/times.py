"""RFC 3339 times, read strictly."""

import re
from datetime import UTC, datetime, timedelta

from django.conf import settings

RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):(\d\d)"
    r"(\.\d{1,12})?([Zz]|[+-]\d\d:[0-5]\d)",
    re.ASCII,
)
PLAIN = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z", re.ASCII)
"""The form that nearly every time comes in, and that Python itself reads."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A device whose clock was never set says 1970; nothing older than this is a measurement."""


class NotATime(ValueError):
    """Not RFC 3339 with an offset."""


def parse(text: object) -> datetime:
    """The instant in UTC, kept to the microsecond; a leap second is the second after it.

    Raises NotATime.
    """
    try:
        if isinstance(text, str) and PLAIN.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    return _parse_slowly(text)


def latest(now: datetime) -> datetime:
    """The last instant that a device may name: its clock may run ahead a little."""
    return now + timedelta(seconds=settings.ALLOWED_CLOCK_SKEW)


def out_of_range(time: datetime, *, now: datetime, earliest: datetime = EARLIEST) -> str:
    """Why an instant that a device names cannot be one; nothing if it can."""
    if earliest <= time <= latest(now):
        return ""
    if earliest > EARLIEST:
        return f"Between {show(earliest)}, before which nothing is kept, and now, {show(now)}."
    return f"Between {EARLIEST.year} and now, which is {show(now)}."


def show(time: datetime) -> str:
    """The form of every time in an answer: UTC, microseconds, Z."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _parse_slowly(text: object) -> datetime:
    if not isinstance(text, str) or not (match := RFC_3339.fullmatch(text)):
        raise NotATime("Not an RFC 3339 time with an offset, like 2026-01-31T12:00:00.5Z.")
    day, minute, second, fraction, offset = match.groups(default="")
    leap = second == "60"
    try:
        time = datetime.fromisoformat(
            f"{day}T{minute}:{'59' if leap else second}{fraction[:7]}{offset.upper()}"
        ).astimezone(UTC)
        return time.replace(microsecond=0) + timedelta(seconds=1) if leap else time
    except (ValueError, OverflowError):
        raise NotATime("There is no such day, time or offset.") from None
