"""The page of a device, which shows several apps at once, and the one that helps."""

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

READINGS_SHOWN = 20
CARDS = 60
"""Of how many values of a device is shown how they went."""
DAY = timedelta(hours=24)
CHECKLIST_DELAY = timedelta(minutes=1)
"""After so long without a reading there is a list of what may be wrong."""


class Card(NamedTuple):
    """A value, and how it went over the last day of its device."""

    value: charts.ChartValue
    spark: str = ""
    least: float | None = None
    greatest: float | None = None


@login_required
@require_safe
def device_page(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """One device: what it measures, what it measured, what it is told to do."""
    now = timezone.now()
    device = _device(request.user, device_id, now)
    context = {
        **_status_context(request, device, now),
        **commands.views.command_panel_context(device, now=now),
        "readings": history.page(device, limit=READINGS_SHOWN).readings,
        "refusals": rejections.for_device(device),
    }
    return render(request, "device.html", context)


@login_required
@require_safe
def device_status_partial(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Status and latest values; the charts too where the page no longer shows the right ones."""
    now = timezone.now()
    context = _status_context(request, _device(request.user, device_id, now), now)
    stale = request.GET.get("charts") != str(context["charts"].version)
    return render(request, "_now.html", {**context, "with_charts": stale})


@login_required
@require_safe
def device_readings(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """The newest readings as they came."""
    device = _device(request.user, device_id, timezone.now())
    newest = history.page(device, limit=READINGS_SHOWN).readings
    return render(request, "_readings.html", {"device": device, "readings": newest})


@login_required
@require_safe
def first_reading_partial(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Whether a new device has been heard of, or refused: asked for while its owner connects it."""
    device = _device(request.user, device_id, timezone.now())
    newest = history.latest_readings([device], depth=1, rare=False)[device.pk]
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
    wanted = charts.page_query(request.GET, request.headers.get("HX-Current-URL", ""))
    shown = charts.charts(device, found, wanted=wanted, now=now)
    cards = _cards(device, shown)
    return {
        "device": device,
        "groups": [
            (group, [cards.get(v.series, Card(v)) for v in group.values]) for group in found
        ],
        "charts": shown,
    }


def _cards(device: Device, shown: charts.Charts) -> dict[str, Card]:
    """By key, how each went in the day up to now, or up to when its device fell silent."""
    numeric = {value.series: value for group in shown.groups for value in group.numeric}
    names = list(numeric)[:CARDS]
    if not names:
        return {}
    end = shown.latest + timedelta(seconds=1)
    day = series.query_series_by_step(
        device,
        keys=names,
        start=end - DAY,
        end=end,
        step=buckets.HOUR,
        kept=AvailableFrom.of(device),
    )
    young = len(day.t) < sparklines.MIN_HOURS
    wanted = [sparklines.SparklineKey(device.pk, *name.split(".", 1)) for name in names if young]
    newest = sparklines.recent_points(wanted, now=end)
    return {
        name: Card(
            numeric[name],
            sparkline_svg.svg_path(newest[wanted[number]] if young else _averages(day, name)),
            min((v for v in day.columns[name].min if v is not None), default=None),
            max((v for v in day.columns[name].max if v is not None), default=None),
        )
        for number, name in enumerate(names)
    }


def _averages(day: series.Series, name: str) -> list[Point]:
    found = zip(day.t, day.columns[name].avg, strict=True)
    return [(time, mean) for time, mean in found if mean is not None]
