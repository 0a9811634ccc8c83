"""The page of a device, with parts of several apps."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

import commands.views
from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import User
from devices import rejections
from devices.models import Device
from telemetry.keys import registry as keys
from telemetry.queries import buckets, history, series, sparklines
from telemetry.queries.sparklines import Point
from telemetry.rollups.build import AvailableFrom
from telemetry_site.dashboard import charts, sparkline_svg

MAX_READINGS_DISPLAYED = 20
MAX_CARDS = 60
"""Values of a device with a sparkline."""
DAY = timedelta(hours=24)
CHECKLIST_DELAY = timedelta(minutes=1)
"""After this time without a reading the page displays a checklist of possible causes."""


class Card(NamedTuple):
    """A value with its sparkline, minimum and maximum over the last day of its device."""

    value: charts.ChartValue
    spark: str = ""
    least: float | None = None
    greatest: float | None = None


@login_required
@require_safe
def device_page(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """The page of a device: latest values, charts, readings, commands and rejected requests."""
    now = timezone.now()
    device = _device(request.user, device_id, now)
    context = {
        **_status_context(request, device, now),
        **commands.views.command_panel_context(device, now=now),
        "readings": history.page(device, limit=MAX_READINGS_DISPLAYED).readings,
        "refusals": rejections.for_device(device),
    }
    return render(request, "device.html", context)


@login_required
@require_safe
def device_status_partial(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Status and latest values, and the charts if those of the page are out of date."""
    now = timezone.now()
    context = _status_context(request, _device(request.user, device_id, now), now)
    stale = request.GET.get("charts") != str(context["charts"].version)
    return render(request, "_now.html", {**context, "with_charts": stale})


@login_required
@require_safe
def device_readings(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """The newest readings as the device sent them."""
    device = _device(request.user, device_id, timezone.now())
    newest = history.page(device, limit=MAX_READINGS_DISPLAYED).readings
    return render(request, "_readings.html", {"device": device, "readings": newest})


@login_required
@require_safe
def first_reading_partial(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Whether a new device has sent a reading or a rejected request. The page refreshes this while
    its owner connects the device.
    """
    device = _device(request.user, device_id, timezone.now())
    newest = history.latest_readings([device], depth=1, include_rare_types=False)[device.pk]
    context = {
        "device": device,
        "groups": charts.groups(newest, keys.DisplayFormats()),
        "late": timezone.now() - device.created_at > CHECKLIST_DELAY,
        "refusal": rejections.for_device(device).first(),
    }
    return render(request, "devices/_first_reading.html", context)


def _device(user: User, device_id: UUID, now: datetime) -> Device:
    return get_object_or_404(Device.objects.visible_to(user).with_presence(now), pk=device_id)


def _status_context(request: AuthenticatedRequest, device: Device, now: datetime) -> dict[str, Any]:
    newest = history.latest_readings([device])[device.pk]
    found = charts.groups(newest, keys.display_formats_for([device])[device.pk])
    query = charts.page_query(request.GET, request.headers.get("HX-Current-URL", ""))
    device_charts = charts.charts(device, found, query=query, now=now)
    cards = _cards(device, device_charts)
    return {
        "device": device,
        "groups": [
            (group, [cards.get(v.series, Card(v)) for v in group.values]) for group in found
        ],
        "charts": device_charts,
    }


def _cards(device: Device, device_charts: charts.Charts) -> dict[str, Card]:
    """Return the cards by key, over the 24 hours up to now, or up to the last reading of a device
    that no longer sends.
    """
    numeric = {value.series: value for group in device_charts.groups for value in group.numeric}
    names = list(numeric)[:MAX_CARDS]
    if not names:
        return {}
    end = device_charts.latest + timedelta(seconds=1)
    day = series.query_series_by_step(
        device,
        keys=names,
        start=end - DAY,
        end=end,
        step=buckets.HOUR,
        available_from=AvailableFrom.for_device(device),
    )
    few_hours = len(day.timestamps) < sparklines.MIN_HOURS
    sparkline_keys = [
        sparklines.SparklineKey(device.pk, *name.split(".", 1)) for name in names if few_hours
    ]
    newest = sparklines.recent_points(sparkline_keys, now=end)
    return {
        name: Card(
            numeric[name],
            sparkline_svg.svg_path(
                newest[sparkline_keys[number]] if few_hours else _averages(day, name)
            ),
            min((v for v in day.columns[name].min if v is not None), default=None),
            max((v for v in day.columns[name].max if v is not None), default=None),
        )
        for number, name in enumerate(names)
    }


def _averages(day: series.Series, name: str) -> list[Point]:
    averages = zip(day.timestamps, day.columns[name].avg, strict=True)
    return [(time, average) for time, average in averages if average is not None]
