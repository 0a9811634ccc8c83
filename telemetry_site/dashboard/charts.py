"""The charts of a device page and their time window."""

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
"""With a newer reading than this a device counts as sending, and its charts end now."""
FIRST_READINGS = 20
"""The default range is the shortest one in which this many readings are expected."""
DEFAULT_RANGE_OFFLINE = "24h"
"""The default range for a device that no longer sends."""
MAX_EXPANDED_CHARTS = 24
"""Up to this many charts are expanded. Other types are collapsed, and loaded when opened."""


class ChartValue(NamedTuple):
    """One value of a reading. `series` is the key of its chart, or empty without a chart."""

    key: str
    value: object
    series: str
    shown: DisplayFormat

    @property
    def short(self) -> bool:
        """Whether it is displayed in large type."""
        return not isinstance(self.value, str)


class Group(NamedTuple):
    """The values of the newest reading of one type."""

    telemetry_type: str
    recorded_at: datetime
    values: list[ChartValue]

    @property
    def numeric(self) -> list[ChartValue]:
        """The values with a chart."""
        return [value for value in self.values if value.series]


class Charts(NamedTuple):
    """The data of the charts of a device, for the template."""

    groups: list[Group]
    ranges: list[time_ranges.Range]
    window: time_ranges.TimeWindow
    end: datetime | None
    """For a device that no longer sends: the time of its last reading, where the charts end."""
    now: datetime

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The start and the end (exclusive) of the charts."""
        return self.window.span(self.latest)

    @property
    def latest(self) -> datetime:
        """The end of the newest possible window."""
        return self.end or self.now

    @property
    def chosen(self) -> time_ranges.Range | None:
        """The selected range, or None for a custom window."""
        seconds = self.window.length.total_seconds()
        found = (r for r in self.ranges if r.seconds == seconds and not self.window.end)
        return next(found, None)

    @property
    def range_text(self) -> str:
        """The window as text."""
        return self.chosen.words if self.chosen else time_ranges.format_span(*self.span)

    @property
    def seconds(self) -> int:
        """The length of the window."""
        return int(self.window.length.total_seconds())

    @property
    def messages(self) -> str:
        """See `chart_messages`."""
        return chart_messages()

    @property
    def version(self) -> int:
        """A checksum that changes when the page must display other charts."""
        displayed = [
            (value.series, value.shown) for group in self.groups for value in group.numeric
        ]
        return crc32(repr((self.end, displayed)).encode())

    @property
    def expanded_types(self) -> set[str]:
        """The types whose charts are expanded when the page opens."""
        counts = accumulate(len(group.numeric) for group in self.groups)
        return {
            group.telemetry_type
            for number, (group, count) in enumerate(zip(self.groups, counts, strict=True))
            if number == 0 or count <= MAX_EXPANDED_CHARTS
        }


def groups(newest: list[Telemetry], display: DisplayFormats) -> list[Group]:
    """Return the values of the newest readings of a device, grouped by type."""
    return [
        Group(
            reading.telemetry_type,
            reading.recorded_at,
            [
                ChartValue(
                    key,
                    value,
                    _series(reading.telemetry_type, key, value),
                    display[reading.telemetry_type, key].for_value(value),
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
    device: Device, found: list[Group], *, query: Mapping[str, str], now: datetime
) -> Charts:
    """Return the charts of these values over the requested window, or over a default one."""
    newest = max((group.recorded_at for group in found), default=None)
    interval = timedelta(seconds=device.expected_interval)
    recent = newest is None or newest >= now - max(RECENT, series.GAP_FACTOR * interval)
    end = None if recent or newest is None else newest
    ranges = time_ranges.range_choices(end)
    enough = FIRST_READINGS * device.expected_interval
    suiting = next((r.name for r in ranges if r.seconds >= enough), ranges[-1].name)
    window = time_ranges.parse_window(query, now)
    opening = time_ranges.TimeWindow(
        time_ranges.RANGES[suiting if recent else DEFAULT_RANGE_OFFLINE][1]
    )
    return Charts([group for group in found if group.numeric], ranges, window or opening, end, now)


def page_query(query: Mapping[str, str], current_url: str) -> Mapping[str, str]:
    """Return the query of the request. If it has no window, as when the page refreshes a part of
    itself, return the query of the page's URL.
    """
    if "range" in query or "from" in query:
        return query
    parameters = parse_qs(current_url.partition("?")[2].partition("#")[0])
    return {name: values[0] for name, values in parameters.items()}


def chart_messages() -> str:
    """Return the texts of the charts as JSON. The browser fills the placeholders."""
    return json.dumps(
        {
            "empty": _("No values in this range"),
            "summary": _("{min} to {max}, average {mean}"),
            "throughout": _("constant at {min}"),
            "band": _("{min} to {max}"),
            "mean": _("Line: {step} average. Band: minimum to maximum."),
            "each": _("Every reading (one point per {step})."),
            "time": _("Time"),
            "day": _("{D} {MMM}"),
            "signed_out": _("You have been signed out. Reload this page to sign in again."),
            "refused": _("The history could not be loaded. Retrying…"),
            "away": _("The site cannot be reached. Retrying…"),
        }
    )


def _series(telemetry_type: str, key: str, value: object) -> str:
    name = f"{telemetry_type}.{key}"
    return name if isinstance(value, int | float) and series.KEY.fullmatch(name) else ""
