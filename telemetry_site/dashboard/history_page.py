"""The history of a device: charts of some of its values over a part of time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.authentication.requests import AuthenticatedRequest
from devices.models import Device
from telemetry.keys import registry as keys
from telemetry.queries import history, series
from telemetry.rollups.build import AvailableFrom
from telemetry_site.dashboard import charts, time_ranges

KEYS_SHOWN = 4
"""How many charts there are where nobody chose."""
READINGS_SHOWN = 50
FORMATS = ["csv", "ndjson"]
RESOLUTIONS = ["raw", "hour", "day"]


class Statistics(NamedTuple):
    """What all values of a key in a part of time come to; None where it has none."""

    min: float | None = None
    mean: float | None = None
    max: float | None = None
    count: int = 0  # type: ignore[assignment] # a method of tuples


class KeyToggle(NamedTuple):
    """A value that can be charted: whether it is, and the page on which it is the other way."""

    value: charts.ChartValue
    chosen: bool
    address: str


class PageUrls(NamedTuple):
    """Where the page of a device is: its own address, where it gets its charts, what is above it.

    Files are there only for who may use the API for the device.
    """

    page: str
    series: str
    above: str
    files: bool


@login_required
@require_safe
def history_page(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """The history of a device of one's own."""
    own = Device.objects.visible_to(request.user)
    device = get_object_or_404(own, pk=device_id)
    place = PageUrls(
        page=reverse("device-history", args=[device.pk]),
        series=f"/api/v1/devices/{device.pk}/telemetry/series",
        above=reverse("device", args=[device.pk]),
        files=True,
    )
    return render_history(request, device, place)


def render_history(request: HttpRequest, device: Device, place: PageUrls) -> HttpResponse:
    """Charts to move and zoom in, of a device that whoever asks may see. Without JavaScript: a
    summary and the newest readings.
    """
    now, path = timezone.now(), place.page
    chosen = request.GET.getlist("key")
    if exact := time_ranges.normalized_query(request.GET.dict()):
        return redirect(time_ranges.build_url(path, exact, _as_query(chosen)))
    found = charts.groups(
        history.latest_readings([device])[device.pk], keys.display_formats_for([device])[device.pk]
    )
    shown = charts.charts(device, found, wanted=request.GET.dict(), now=now)
    numeric = [value for group in shown.groups for value in group.numeric]
    known = {value.series: value for value in numeric}
    asked = [key for key in dict.fromkeys(chosen) if key in known][: series.KEYS_LIMIT]
    names = asked or list(known)[:KEYS_SHOWN]
    start, end = shown.span
    context = {
        "device": device,
        "charts": shown,
        "figures": _figures(device, [known[name] for name in names], start, end, now),
        "blank": charts.ChartValue("", None, "", keys.DisplayFormat("", "", None)),
        "nothing": Statistics(),
        "asked": asked,
        "chips": _chips(path, numeric, names, shown.window),
        "moves": _navigation_urls(path, shown, asked),
        "downloads": _downloads(device, names, start, end) if place.files else [],
        "place": place,
        "readings": history.page(device, limit=READINGS_SHOWN, start=start, end=end).readings,
    }
    return render(request, "history.html", context)


def summary(
    device: Device, names: Sequence[str], start: datetime, end: datetime, now: datetime
) -> dict[str, Statistics]:
    """Of each key, all its values in a part of time in one row."""
    found = series.query_series(
        device,
        keys=names,
        start=start,
        end=end,
        points=1,
        now=now,
        kept=AvailableFrom.of(device),
    )
    return {name: _aggregate(columns) for name, columns in found.columns.items()}


def _aggregate(columns: series.Columns) -> Statistics:
    total = sum(columns.count)
    if not total:
        return Statistics()
    means = zip(columns.avg, columns.count, strict=True)
    return Statistics(
        min(value for value in columns.min if value is not None),
        sum(mean * count for mean, count in means if mean is not None) / total,
        max(value for value in columns.max if value is not None),
        total,
    )


def _figures(
    device: Device,
    values: Sequence[charts.ChartValue],
    start: datetime,
    end: datetime,
    now: datetime,
) -> list[dict[str, Any]]:
    if not values:
        return []
    summed = summary(device, [value.series for value in values], start, end, now)
    return [{"value": value, "statistics": summed[value.series]} for value in values]


def _chips(
    path: str,
    numeric: Sequence[charts.ChartValue],
    names: Sequence[str],
    window: time_ranges.TimeWindow,
) -> list[KeyToggle]:
    return [
        KeyToggle(
            value,
            value.series in names,
            time_ranges.build_url(path, window.query, _as_query(_toggled(names, value.series))),
        )
        for value in numeric
    ]


def _toggled(names: Sequence[str], name: str) -> list[str]:
    if name in names:
        return [other for other in names if other != name] or [name]
    return [*names, name]


def _navigation_urls(path: str, shown: charts.Charts, asked: Sequence[str]) -> dict[str, str]:
    """Where the buttons above the charts lead."""
    window, latest = shown.window, shown.latest
    to = {
        "earlier": window.moved(-1, latest),
        "later": window.moved(1, latest),
        "out": window.zoomed(2, latest),
        "in": window.zoomed(0.5, latest),
        "now": time_ranges.TimeWindow(window.length),
    }
    return {
        name: time_ranges.build_url(path, other.query, _as_query(asked))
        for name, other in to.items()
    }


def _downloads(
    device: Device, names: Sequence[str], start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """The files that the same part of time can be had in."""
    path = f"/api/v1/devices/{device.pk}/telemetry/export"
    span = {"from": time_ranges.format_time(start), "to": time_ranges.format_time(end)}
    return [
        {
            "format": format,
            "resolution": resolution,
            # All of a reading is in a line of NDJSON.
            "of_keys": (of_keys := (resolution, format) != ("raw", "ndjson")),
            "address": time_ranges.build_url(
                path,
                {"format": format, "resolution": resolution, **span},
                _as_query(names if of_keys else []),
            ),
        }
        for resolution in RESOLUTIONS
        for format in FORMATS
    ]


def _as_query(names: Sequence[str]) -> list[tuple[str, str]]:
    return [("key", name) for name in names]
