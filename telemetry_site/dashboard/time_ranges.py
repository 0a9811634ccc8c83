"""Which part of time is looked at: as the address of a page says it, and as people read it.

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

SHORTEST, LONGEST = timedelta(seconds=10), timedelta(days=20 * 366)
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
    """A choice of how much time is shown, and that time in words."""

    name: str
    label: str
    seconds: int
    words: str


class TimeWindow(NamedTuple):
    """A part of time. Without an end it ends now, whenever that is."""

    length: timedelta
    end: datetime | None = None

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """From when until before when."""
        end = self.end or now
        return end - self.length, end

    @property
    def query(self) -> dict[str, str]:
        """How an address says it."""
        if self.end is None:
            names = [name for name, (_, length, _) in RANGES.items() if length == self.length]
            return {"range": names[0] if names else f"{self.length // timedelta(seconds=1)}s"}
        return {"from": format_time(self.end - self.length), "to": format_time(self.end)}

    def moved(self, share: float, now: datetime) -> "TimeWindow":
        """Later by this share of its length; what reaches now ends there from then on."""
        end = (self.end or now) + share * self.length
        return TimeWindow(self.length, None if end >= now else end)

    def zoomed(self, factor: float, now: datetime) -> "TimeWindow":
        """Longer by a factor around its middle, as far as there is time."""
        length = min(max(self.length * factor, SHORTEST), LONGEST)
        end = self.end and self.end + (length - self.length) / 2
        return TimeWindow(length, end if end and end < now else None)


def range_choices(end: datetime | None) -> list[Range]:
    """The choices; of a device that fell silent they end with its last reading."""
    return [
        Range(name, str(label), int(length.total_seconds()), _words(str(words), length, end))
        for name, (label, length, words) in RANGES.items()
    ]


def parse_window(query: Mapping[str, str], now: datetime) -> TimeWindow | None:
    """The window that an address asks for, if it asks for any that can be."""
    start, end = _time(query.get("from", "")), _time(query.get("to", ""))
    if start and end and start >= MIN_TIMESTAMP and start + SHORTEST <= end <= now + LONGEST:
        return TimeWindow(end - start, end)
    name = query.get("range", "")
    if name in RANGES:
        return TimeWindow(RANGES[name][1])
    seconds = SECONDS.fullmatch(name)
    length = timedelta(seconds=int(seconds[1])) if seconds else timedelta()
    return TimeWindow(length) if SHORTEST <= length <= LONGEST else None


def normalized_query(query: Mapping[str, str]) -> dict[str, str]:
    """`from` and `to` as UTC where a form sent what the user's clock shows; else nothing."""
    given = {name: query.get(name, "") for name in ("from", "to")}
    times = {name: _time(text) for name, text in given.items()}
    shown = {name: format_time(time) for name, time in times.items() if time}
    return shown if len(shown) == 2 and shown != given else {}


def format_span(start: datetime, end: datetime) -> str:
    """Both instants in words, on the user's clock."""
    first, last = timezone.localtime(start), timezone.localtime(end)
    until = f"{last:%H:%M %Z}" if first.date() == last.date() else f"{_day(last)}, {last:%H:%M %Z}"
    return _("{start} to {end}").format(start=f"{_day(first)}, {first:%H:%M}", end=until)


def format_time(time: datetime) -> str:
    """An instant in an address."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def build_url(path: str, *queries: Mapping[str, str] | list[tuple[str, str]]) -> str:
    """A path with these queries; colons may stay as they are."""
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
