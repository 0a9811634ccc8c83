"""The history of a device: charts of some of its values over a time window."""

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

DEFAULT_KEY_COUNT = 4
"""How many charts are displayed if the URL names no keys."""
MAX_READINGS_DISPLAYED = 50
FORMATS = ["csv", "ndjson"]
RESOLUTIONS = ["raw", "hour", "day"]


class Statistics(NamedTuple):
    """The statistics of a key over a time window; None without any values."""

    min: float | None = None
    mean: float | None = None
    max: float | None = None
    count: int = 0  # type: ignore[assignment] # a method of tuples


class KeyToggle(NamedTuple):
    """A value with a chart: whether the chart is displayed, and the URL that toggles it."""

    value: charts.ChartValue
    chosen: bool
    url: str


class PageUrls(NamedTuple):
    """The URLs of the page, of the data of its charts, and of its parent page.

    `files`: whether the user may use the API for the device, and so download files.
    """

    page: str
    series: str
    parent: str
    files: bool


@login_required
@require_safe
def history_page(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """The history of a device that belongs to the user."""
    own = Device.objects.visible_to(request.user)
    device = get_object_or_404(own, pk=device_id)
    urls = PageUrls(
        page=reverse("device-history", args=[device.pk]),
        series=f"/api/v1/devices/{device.pk}/telemetry/series",
        parent=reverse("device", args=[device.pk]),
        files=True,
    )
    return render_history(request, device, urls)


def render_history(request: HttpRequest, device: Device, urls: PageUrls) -> HttpResponse:
    """Render charts that can be moved and zoomed. Without JavaScript: statistics and the newest
    readings. The caller checks that the user may see the device.
    """
    now, path = timezone.now(), urls.page
    chosen = request.GET.getlist("key")
    if exact := time_ranges.normalized_query(request.GET.dict()):
        return redirect(time_ranges.build_url(path, exact, _as_query(chosen)))
    found = charts.groups(
        history.latest_readings([device])[device.pk], keys.display_formats_for([device])[device.pk]
    )
    device_charts = charts.charts(device, found, query=request.GET.dict(), now=now)
    numeric = [value for group in device_charts.groups for value in group.numeric]
    known = {value.series: value for value in numeric}
    requested = [key for key in dict.fromkeys(chosen) if key in known][: series.KEYS_LIMIT]
    names = requested or list(known)[:DEFAULT_KEY_COUNT]
    start, end = device_charts.span
    context = {
        "device": device,
        "charts": device_charts,
        "figures": _figures(device, [known[name] for name in names], start, end, now),
        "blank": charts.ChartValue("", None, "", keys.DisplayFormat("", "", None)),
        "nothing": Statistics(),
        "requested_keys": requested,
        "key_toggles": _key_toggles(path, numeric, names, device_charts.window),
        "navigation_urls": _navigation_urls(path, device_charts, requested),
        "downloads": _downloads(device, names, start, end) if urls.files else [],
        "urls": urls,
        "readings": history.page(
            device, limit=MAX_READINGS_DISPLAYED, start=start, end=end
        ).readings,
    }
    return render(request, "history.html", context)


def summary(
    device: Device, names: Sequence[str], start: datetime, end: datetime, now: datetime
) -> dict[str, Statistics]:
    """Return the statistics of each key over a time window."""
    found = series.query_series(
        device,
        keys=names,
        start=start,
        end=end,
        points=1,
        now=now,
        available_from=AvailableFrom.for_device(device),
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
    statistics = summary(device, [value.series for value in values], start, end, now)
    return [{"value": value, "statistics": statistics[value.series]} for value in values]


def _key_toggles(
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


def _navigation_urls(
    path: str, device_charts: charts.Charts, requested: Sequence[str]
) -> dict[str, str]:
    """Return the URLs of the buttons above the charts."""
    window, latest = device_charts.window, device_charts.latest
    windows = {
        "earlier": window.shift(-1, latest),
        "later": window.shift(1, latest),
        "out": window.zoom(2, latest),
        "in": window.zoom(0.5, latest),
        "now": time_ranges.TimeWindow(window.length),
    }
    return {
        name: time_ranges.build_url(path, other.query, _as_query(requested))
        for name, other in windows.items()
    }


def _downloads(
    device: Device, names: Sequence[str], start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """Return the links to files with the readings of the time window."""
    path = f"/api/v1/devices/{device.pk}/telemetry/export"
    span = {"from": time_ranges.format_time(start), "to": time_ranges.format_time(end)}
    return [
        {
            "format": format,
            "resolution": resolution,
            # A line of NDJSON holds a complete reading, so keys cannot be selected.
            "of_keys": (of_keys := (resolution, format) != ("raw", "ndjson")),
            "url": time_ranges.build_url(
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
