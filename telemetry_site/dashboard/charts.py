"""Which charts a device page shows, and of what time."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import parse_qs
from zlib import crc32

from django.utils.translation import gettext as _

from devices.models import Device
from telemetry.ingest import validation
from telemetry.keys.registry import DisplayFormat, DisplayFormats, natural_sort_key
from telemetry.models import Telemetry
from telemetry.queries import series
from telemetry_site.dashboard import time_ranges

RECENT = timedelta(hours=1)
"""With a newer reading than this a device is alive, and its charts end now."""
FIRST_READINGS = 20
"""A chart opens on the shortest range that so many readings are expected in."""
DEFAULT_RANGE_OFFLINE = "24h"
"""The range that the charts of a device open on which has fallen silent."""
UNFOLDED_CHARTS = 24
"""Types whose charts would be more than this many are folded, and fetched when unfolded."""


class ChartValue(NamedTuple):
    """One value of a reading; `series` is the key its chart is asked for by, or empty."""

    key: str
    value: object
    series: str
    shown: DisplayFormat

    @property
    def short(self) -> bool:
        """Whether there is room to show it in large type."""
        return not isinstance(self.value, str)


class Group(NamedTuple):
    """The newest reading of one type, taken apart."""

    telemetry_type: str
    recorded_at: datetime
    values: list[ChartValue]

    @property
    def numeric(self) -> list[ChartValue]:
        """The values that a chart can be drawn of."""
        return [value for value in self.values if value.series]


class Charts(NamedTuple):
    """What the charts of a device are rendered from."""

    groups: list[Group]
    ranges: list[time_ranges.Range]
    window: time_ranges.TimeWindow
    end: datetime | None
    """Where what ends now ends, of a device that has fallen silent."""
    now: datetime

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From when until before when they are."""
        return self.window.span(self.latest)

    @property
    def latest(self) -> datetime:
        """The last instant worth looking at."""
        return self.end or self.now

    @property
    def chosen(self) -> time_ranges.Range | None:
        """The choice that is shown, if it is one."""
        seconds = self.window.length.total_seconds()
        found = (r for r in self.ranges if r.seconds == seconds and not self.window.end)
        return next(found, None)

    @property
    def words(self) -> str:
        """The part of time in words."""
        return self.chosen.words if self.chosen else time_ranges.format_span(*self.span)

    @property
    def seconds(self) -> int:
        """How long it is."""
        return int(self.window.length.total_seconds())

    @property
    def say(self) -> str:
        """See `sentences`."""
        return chart_messages()

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


def groups(newest: list[Telemetry], display: DisplayFormats) -> list[Group]:
    """The newest readings of a device, taken apart into their values."""
    return [
        Group(
            reading.telemetry_type,
            reading.recorded_at,
            [
                ChartValue(
                    key,
                    value,
                    _series(reading.telemetry_type, key, value),
                    display[reading.telemetry_type, key].of(value),
                )
                for key, value in sorted(
                    validation.iter_values(reading.payload),
                    key=lambda item: natural_sort_key(item[0]),
                )
            ],
        )
        for reading in newest
    ]


def charts(
    device: Device, found: list[Group], *, wanted: Mapping[str, str], now: datetime
) -> Charts:
    """The charts of these values over the window asked for, or over one that suits the device."""
    newest = max((group.recorded_at for group in found), default=None)
    interval = timedelta(seconds=device.expected_interval)
    recent = newest is None or newest >= now - max(RECENT, series.GAP_FACTOR * interval)
    end = None if recent or newest is None else newest
    ranges = time_ranges.range_choices(end)
    enough = FIRST_READINGS * device.expected_interval
    suiting = next((r.name for r in ranges if r.seconds >= enough), ranges[-1].name)
    window = time_ranges.parse_window(wanted, now)
    opening = time_ranges.TimeWindow(
        time_ranges.RANGES[suiting if recent else DEFAULT_RANGE_OFFLINE][1]
    )
    return Charts([group for group in found if group.numeric], ranges, window or opening, end, now)


def page_query(query: Mapping[str, str], current_url: str) -> Mapping[str, str]:
    """The query of the page, or of the page that refreshes a part of itself."""
    if "range" in query or "from" in query:
        return query
    shown = parse_qs(current_url.partition("?")[2].partition("#")[0])
    return {name: values[0] for name, values in shown.items()}


def chart_messages() -> str:
    """What the charts say, for the browser, which fills the blanks."""
    return json.dumps(
        {
            "empty": _("No values in this range"),
            "summary": _("{min} to {max}, mean {mean}"),
            "throughout": _("{min} throughout"),
            "band": _("{min} to {max}"),
            "mean": _("Line: mean per {step}. Band: least to greatest."),
            "each": _("Every reading, to {step}."),
            "time": _("Time"),
            "day": _("{D} {MMM}"),
            "signed_out": _("You have been signed out. Reload this page to sign in again."),
            "refused": _("The history could not be loaded; it is tried again."),
            "away": _("The site cannot be reached; it is tried again."),
        }
    )


def _series(telemetry_type: str, key: str, value: object) -> str:
    name = f"{telemetry_type}.{key}"
    return name if isinstance(value, int | float) and series.KEY.fullmatch(name) else ""
