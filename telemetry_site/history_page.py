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

from accounts.views import SignedInRequest
from devices.models import Device
from telemetry import history, keys, series
from telemetry.rollups import Kept
from telemetry_site import charts, windows

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


class Chip(NamedTuple):
    """A value that can be charted: whether it is, and the page on which it is the other way."""

    value: charts.Value
    chosen: bool
    address: str


class Place(NamedTuple):
    """Where the page of a device is: its own address, where it gets its charts, what is above it.

    Files are there only for who may use the API for the device.
    """

    page: str
    series: str
    above: str
    files: bool


@login_required
@require_safe
def history_page(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """The history of a device of one's own."""
    own = Device.objects.visible_to(request.user)
    device = get_object_or_404(own, pk=device_id)
    place = Place(
        page=reverse("device-history", args=[device.pk]),
        series=f"/api/v1/devices/{device.pk}/telemetry/series",
        above=reverse("device", args=[device.pk]),
        files=True,
    )
    return answer(request, device, place)


def answer(request: HttpRequest, device: Device, place: Place) -> HttpResponse:
    """Charts to move and zoom in, of a device that whoever asks may see. Without JavaScript: a
    summary and the newest readings.
    """
    now, path = timezone.now(), place.page
    chosen = request.GET.getlist("key")
    if exact := windows.canonical(request.GET.dict()):
        return redirect(windows.address(path, exact, _as_query(chosen)))
    found = charts.groups(history.latest([device])[device.pk], keys.displays([device])[device.pk])
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
        "blank": charts.Value("", None, "", keys.Shown("", "", None)),
        "nothing": Statistics(),
        "asked": asked,
        "chips": _chips(path, numeric, names, shown.window),
        "moves": _moves(path, shown, asked),
        "downloads": _downloads(device, names, start, end) if place.files else [],
        "place": place,
        "readings": history.page(device, limit=READINGS_SHOWN, start=start, end=end).readings,
    }
    return render(request, "history.html", context)


def summary(
    device: Device, names: Sequence[str], start: datetime, end: datetime, now: datetime
) -> dict[str, Statistics]:
    """Of each key, all its values in a part of time in one row."""
    found = series.series(
        device,
        keys=names,
        start=start,
        end=end,
        points=1,
        now=now,
        kept=Kept.of(device),
    )
    return {name: _in_one(columns) for name, columns in found.columns.items()}


def _in_one(columns: series.Columns) -> Statistics:
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
    values: Sequence[charts.Value],
    start: datetime,
    end: datetime,
    now: datetime,
) -> list[dict[str, Any]]:
    if not values:
        return []
    summed = summary(device, [value.series for value in values], start, end, now)
    return [{"value": value, "statistics": summed[value.series]} for value in values]


def _chips(
    path: str, numeric: Sequence[charts.Value], names: Sequence[str], window: windows.Window
) -> list[Chip]:
    return [
        Chip(
            value,
            value.series in names,
            windows.address(path, window.query, _as_query(_toggled(names, value.series))),
        )
        for value in numeric
    ]


def _toggled(names: Sequence[str], name: str) -> list[str]:
    if name in names:
        return [other for other in names if other != name] or [name]
    return [*names, name]


def _moves(path: str, shown: charts.Charts, asked: Sequence[str]) -> dict[str, str]:
    """Where the buttons above the charts lead."""
    window, latest = shown.window, shown.latest
    to = {
        "earlier": window.moved(-1, latest),
        "later": window.moved(1, latest),
        "out": window.zoomed(2, latest),
        "in": window.zoomed(0.5, latest),
        "now": windows.Window(window.length),
    }
    return {
        name: windows.address(path, other.query, _as_query(asked)) for name, other in to.items()
    }


def _downloads(
    device: Device, names: Sequence[str], start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """The files that the same part of time can be had in."""
    path = f"/api/v1/devices/{device.pk}/telemetry/export"
    span = {"from": windows.show(start), "to": windows.show(end)}
    return [
        {
            "format": format,
            "resolution": resolution,
            # All of a reading is in a line of NDJSON.
            "of_keys": (of_keys := (resolution, format) != ("raw", "ndjson")),
            "address": windows.address(
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
