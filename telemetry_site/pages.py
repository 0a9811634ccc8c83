"""The page of a device, which shows several apps at once."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

import commands.views
from accounts.models import User
from accounts.views import SignedInRequest
from devices.models import Device
from telemetry import history, keys
from telemetry_site import charts

READINGS_SHOWN = 20


@login_required
@require_safe
def device_page(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """One device: what it measures, what it measured, what it is told to do."""
    now = timezone.now()
    device = _device(request.user, device_id, now)
    context = {
        **_now(request, device, now),
        **commands.views.panel(device, now=now),
        "readings": history.page(device, limit=READINGS_SHOWN).readings,
    }
    return render(request, "device.html", context)


@login_required
@require_safe
def device_now(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """Status and latest values; the charts too where the page no longer shows the right ones."""
    now = timezone.now()
    context = _now(request, _device(request.user, device_id, now), now)
    stale = request.GET.get("charts") != str(context["charts"].version)
    return render(request, "_now.html", {**context, "with_charts": stale})


@login_required
@require_safe
def device_readings(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """The newest readings as they came."""
    device = _device(request.user, device_id, timezone.now())
    newest = history.page(device, limit=READINGS_SHOWN).readings
    return render(request, "_readings.html", {"device": device, "readings": newest})


@login_required
@require_safe
def first_reading(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """Whether a new device has been heard of: asked for while its owner connects it."""
    device = _device(request.user, device_id, timezone.now())
    newest = history.latest([device], depth=1, rare=False)[device.pk]
    found = charts.groups(newest, keys.Display())
    return render(request, "devices/_first_reading.html", {"device": device, "groups": found})


def _device(user: User, device_id: UUID, now: datetime) -> Device:
    return get_object_or_404(Device.objects.visible_to(user).with_presence(now), pk=device_id)


def _now(request: SignedInRequest, device: Device, now: datetime) -> dict[str, Any]:
    newest = history.latest([device])[device.pk]
    found = charts.groups(newest, keys.displays([device])[device.pk])
    wanted = charts.wanted(request.GET, request.headers.get("HX-Current-URL", ""))
    return {
        "device": device,
        "groups": found,
        "charts": charts.charts(device, found, wanted=wanted, now=now),
    }
