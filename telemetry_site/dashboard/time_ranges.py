"""The time window of charts, as query parameters and as text.

static/js/charts/view.js does the same in the browser.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from common.timestamps import MIN_TIMESTAMP

MIN_LENGTH, MAX_LENGTH = timedelta(seconds=10), timedelta(days=20 * 366)
SECONDS = re.compile(r"(\d{1,9})s", re.ASCII)

RANGES: dict[str, tuple[str | Promise, timedelta, str | Promise]] = {
    "10m": (gettext_lazy("10 min"), timedelta(minutes=10), gettext_lazy("The last 10 minutes")),
    "1h": (gettext_lazy("1 h"), timedelta(hours=1), gettext_lazy("The last hour")),
    "6h": (gettext_lazy("6 h"), timedelta(hours=6), gettext_lazy("The last 6 hours")),
    "24h": (gettext_lazy("24 h"), timedelta(hours=24), gettext_lazy("The last 24 hours")),
    "7d": (gettext_lazy("7 d"), timedelta(days=7), gettext_lazy("The last 7 days")),
    "30d": (gettext_lazy("30 d"), timedelta(days=30), gettext_lazy("The last 30 days")),
    "1y": (gettext_lazy("1 y"), timedelta(days=365), gettext_lazy("The last year")),
}


class Range(NamedTuple):
    """A selectable range; `words` describes it as text."""

    name: str
    label: str
    seconds: int
    words: str


class TimeWindow(NamedTuple):
    """A time window. Without `end` it always ends at the current time."""

    length: timedelta
    end: datetime | None = None

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the start and the end (exclusive)."""
        end = self.end or now
        return end - self.length, end

    @property
    def query(self) -> dict[str, str]:
        """The window as query parameters."""
        if self.end is None:
            names = [name for name, (_, length, _) in RANGES.items() if length == self.length]
            return {"range": names[0] if names else f"{self.length // timedelta(seconds=1)}s"}
        return {"from": format_time(self.end - self.length), "to": format_time(self.end)}

    def shift(self, share: float, now: datetime) -> "TimeWindow":
        """Return the window moved by a share of its length. One that reaches `now` gets no end."""
        end = (self.end or now) + share * self.length
        return TimeWindow(self.length, None if end >= now else end)

    def zoom(self, factor: float, now: datetime) -> "TimeWindow":
        """Return the window with its length multiplied by a factor around its middle, within the
        limits.
        """
        length = min(max(self.length * factor, MIN_LENGTH), MAX_LENGTH)
        end = self.end and self.end + (length - self.length) / 2
        return TimeWindow(length, end if end and end < now else None)


def range_choices(end: datetime | None) -> list[Range]:
    """Return the selectable ranges. `end`: the last reading of a device that no longer sends."""
    return [
        Range(name, str(label), int(length.total_seconds()), _words(str(words), length, end))
        for name, (label, length, words) in RANGES.items()
    ]


def parse_window(query: Mapping[str, str], now: datetime) -> TimeWindow | None:
    """Return the window of a query, or None without a valid one."""
    start, end = _time(query.get("from", "")), _time(query.get("to", ""))
    if start and end and start >= MIN_TIMESTAMP and start + MIN_LENGTH <= end <= now + MAX_LENGTH:
        return TimeWindow(end - start, end)
    name = query.get("range", "")
    if name in RANGES:
        return TimeWindow(RANGES[name][1])
    seconds = SECONDS.fullmatch(name)
    length = timedelta(seconds=int(seconds[1])) if seconds else timedelta()
    return TimeWindow(length) if MIN_LENGTH <= length <= MAX_LENGTH else None


def normalized_query(query: Mapping[str, str]) -> dict[str, str]:
    """Return `from` and `to` in UTC if a form sent them in the user's time zone, otherwise {}."""
    texts = {name: query.get(name, "") for name in ("from", "to")}
    times = {name: _time(text) for name, text in texts.items()}
    normalized = {name: format_time(time) for name, time in times.items() if time}
    return normalized if len(normalized) == 2 and normalized != texts else {}


def format_span(start: datetime, end: datetime) -> str:
    """Return both times as text in the user's time zone."""
    first, last = timezone.localtime(start), timezone.localtime(end)
    until = f"{last:%H:%M %Z}" if first.date() == last.date() else f"{_day(last)}, {last:%H:%M %Z}"
    return _("{start} to {end}").format(start=f"{_day(first)}, {first:%H:%M}", end=until)


def format_time(time: datetime) -> str:
    """Return the time as in a query parameter."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def build_url(path: str, *queries: Mapping[str, str] | list[tuple[str, str]]) -> str:
    """Return the path with these query parameters. Colons are not escaped."""
    pairs = [
        pair
        for query in queries
        for pair in (query.items() if isinstance(query, Mapping) else query)
    ]
    return f"{path}?{urlencode(pairs, safe=':')}"


def _time(text: str) -> datetime | None:
    try:
        time = parse_datetime(text)
        return timezone.make_aware(time) if time and timezone.is_naive(time) else time
    except (ValueError, OverflowError):
        return None


def _words(words: str, length: timedelta, end: datetime | None) -> str:
    return words if end is None else format_span(end - length, end)


def _day(time: datetime) -> str:
    return date_format(time, "DATE_FORMAT")
