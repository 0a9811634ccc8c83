"""The pages that show several apps at once: the list of devices and the page of one."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q
from django.db.models.functions import Lower
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

import commands.views
from accounts.models import User
from accounts.views import NO_PASSWORD_NOTICE_READ, SignedInRequest
from commands.models import Command
from devices import refusals
from devices.models import Device
from telemetry import history, keys
from telemetry_site import charts

DEVICES_PER_PAGE = 50
VALUES_PER_ROW = 3
LATEST_DEPTH = 20
"""Of each device in the list, how many of its newest readings are searched for its types."""
READINGS_SHOWN = 20
STATUSES = {"": Q(), "online": Q(online=True), "offline": Q(online=False)}


class Row(NamedTuple):
    """One device in the list."""

    device: Device
    values: list[charts.Value]
    waiting: int


@login_required
@require_safe
def home(request: SignedInRequest) -> HttpResponse:
    """All of one's devices and how they are doing."""
    user = request.user
    remind = not (user.has_usable_password() or request.session.get(NO_PASSWORD_NOTICE_READ))
    context = {**_device_list(request, timezone.now()), "no_password": remind}
    return render(request, "home.html", context)


@login_required
@require_safe
def device_rows(request: SignedInRequest) -> HttpResponse:
    """The list alone: asked for again and again while someone looks."""
    return render(request, "_devices.html", _device_list(request, timezone.now()))


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
        "refusals": refusals.of(device),
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
    wanted = charts.wanted_range(request.GET, request.headers.get("HX-Current-URL", ""))
    return {
        "device": device,
        "groups": found,
        "charts": charts.charts(device, found, wanted=wanted, now=now),
    }


def _device_list(request: SignedInRequest, now: datetime) -> dict[str, Any]:
    # PostgreSQL takes no NUL, and no name has one.
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    asked = request.GET.get("status", "")
    status = asked if asked in STATUSES else ""
    matching = (
        Device.objects.visible_to(request.user)
        .with_presence(now)
        .filter(Q(name__icontains=query) | Q(device_type__icontains=query))
    )
    devices = matching.filter(STATUSES[status]).order_by(Lower("name"), "id")
    page = Paginator(devices, DEVICES_PER_PAGE).get_page(request.GET.get("page"))
    return {
        "query": query,
        "chips": _chips(matching, query, status),
        "status": status,
        "page": page,
        "rows": _rows(page, now),
        "filters": _address(query, status),
    }


def _chips(matching: Any, query: str, status: str) -> list[dict[str, Any]]:
    counts = matching.aggregate(
        **{f"with_{name}": Count("pk", filter=which) for name, which in STATUSES.items()}
    )
    return [
        {
            "label": (name or "all").capitalize(),
            "count": counts[f"with_{name}"],
            "filters": _address(query, name),
            "status": name,
            "chosen": name == status,
        }
        for name in STATUSES
    ]


def _address(query: str, status: str) -> str:
    given = {"q": query, "status": status}
    return "?" + urlencode({name: value for name, value in given.items() if value})


def _rows(page: Page[Device], now: datetime) -> list[Row]:
    devices = list(page.object_list)
    latest = history.latest(devices, depth=LATEST_DEPTH, rare=False)
    displays = keys.displays(devices)
    waiting = dict(
        Command.objects.waiting(now)
        .filter(device__in=devices)
        .order_by()
        .values_list("device")
        .annotate(Count("pk"))
    )
    return [
        Row(
            device,
            _telling(charts.groups(latest[device.pk], displays[device.pk])),
            waiting.get(device.pk, 0),
        )
        for device in devices
    ]


def _telling(found: Iterable[charts.Group]) -> list[charts.Value]:
    """The few values that stand for a device: of its newest reading first, numbers first."""
    newest_first = sorted(found, key=lambda group: group.recorded_at, reverse=True)
    values = [value for group in newest_first for value in group.values]
    return sorted(values, key=lambda value: not value.series)[:VALUES_PER_ROW]
