"""Which charts a device page shows, and of what time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import parse_qs
from zlib import crc32

from django.utils import timezone

from devices.models import Device
from telemetry import readings, series
from telemetry.keys import Display, Shown, place
from telemetry.models import Telemetry

RECENT = timedelta(hours=1)
"""With a newer reading than this a device is alive, and its charts end now."""
FIRST_READINGS = 20
"""A chart opens on the shortest range that so many readings are expected in."""
OF_THE_PAST = "24h"
"""The range that the charts of a device open on which has fallen silent."""
UNFOLDED_CHARTS = 24
"""Types whose charts would be more than this many are folded, and fetched when unfolded."""

RANGES = {
    "10m": ("10 min", timedelta(minutes=10), "The last 10 minutes"),
    "1h": ("1 h", timedelta(hours=1), "The last hour"),
    "6h": ("6 h", timedelta(hours=6), "The last 6 hours"),
    "24h": ("24 h", timedelta(hours=24), "The last 24 hours"),
    "7d": ("7 d", timedelta(days=7), "The last 7 days"),
    "30d": ("30 d", timedelta(days=30), "The last 30 days"),
}


class Value(NamedTuple):
    """One value of a reading; `series` is the key its chart is asked for by, or empty."""

    key: str
    value: object
    series: str
    shown: Shown

    @property
    def short(self) -> bool:
        """Whether there is room to show it in large type."""
        return not isinstance(self.value, str)


class Group(NamedTuple):
    """The newest reading of one type, taken apart."""

    telemetry_type: str
    recorded_at: datetime
    values: list[Value]

    @property
    def numeric(self) -> list[Value]:
        """The values that a chart can be drawn of."""
        return [value for value in self.values if value.series]


class Range(NamedTuple):
    """A choice of how much time the charts show, and that time in words."""

    name: str
    label: str
    seconds: int
    words: str


class Charts(NamedTuple):
    """What the charts of a device are rendered from."""

    groups: list[Group]
    ranges: list[Range]
    chosen: Range
    end: datetime | None
    """None: they end now, whenever that is."""

    @property
    def version(self) -> int:
        """Another number as soon as other charts would be shown."""
        shown = [(value.series, value.shown) for group in self.groups for value in group.numeric]
        return crc32(repr((self.end, shown)).encode())

    @property
    def unfolded(self) -> set[str]:
        """The types whose charts are open from the start: the first few charts."""
        counts = accumulate(len(group.numeric) for group in self.groups)
        return {
            group.telemetry_type
            for number, (group, count) in enumerate(zip(self.groups, counts, strict=True))
            if number == 0 or count <= UNFOLDED_CHARTS
        }


def groups(newest: list[Telemetry], display: Display) -> list[Group]:
    """The newest readings of a device, taken apart into their values."""
    return [
        Group(
            reading.telemetry_type,
            reading.recorded_at,
            [
                Value(
                    key,
                    value,
                    _series(reading.telemetry_type, key, value),
                    display[reading.telemetry_type, key].of(value),
                )
                for key, value in sorted(
                    readings.values(reading.payload), key=lambda item: place(item[0])
                )
            ],
        )
        for reading in newest
    ]


def charts(device: Device, found: list[Group], *, wanted: str, now: datetime) -> Charts:
    """The charts of these values over the wanted range, or over one that suits the device."""
    newest = max((group.recorded_at for group in found), default=None)
    interval = timedelta(seconds=device.expected_interval)
    recent = newest is None or newest >= now - max(RECENT, series.SILENCES * interval)
    end = None if recent or newest is None else newest
    ranges = [
        Range(name, label, int(length.total_seconds()), _words(words, length, end))
        for name, (label, length, words) in RANGES.items()
    ]
    enough = FIRST_READINGS * device.expected_interval
    suiting = next((r for r in ranges if r.seconds >= enough), ranges[-1]) if recent else None
    by_name = {r.name: r for r in ranges}
    chosen = by_name.get(wanted) or suiting or by_name[OF_THE_PAST]
    return Charts([group for group in found if group.numeric], ranges, chosen, end)


def wanted_range(query: Mapping[str, str], current_url: str) -> str:
    """The range in the address of the page, or of the page that refreshes a part of itself."""
    asked = parse_qs(current_url.partition("?")[2].partition("#")[0]).get("range", [""])
    return query.get("range") or asked[0]


def _series(telemetry_type: str, key: str, value: object) -> str:
    name = f"{telemetry_type}.{key}"
    return name if isinstance(value, int | float) and series.KEY.fullmatch(name) else ""


def _words(words: str, length: timedelta, end: datetime | None) -> str:
    if end is None:
        return words
    first, last = timezone.localtime(end - length), timezone.localtime(end)
    shown = f"{last:%H:%M %Z}" if first.date() == last.date() else f"{_day(last)}, {last:%H:%M %Z}"
    return f"{_day(first)}, {first:%H:%M} to {shown}"


def _day(time: datetime) -> str:
    return f"{time.day} {time:%b %Y}"
