"""The list of devices: filtered, searched, sorted and cut into pages by the database."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q, QuerySet, TextField
from django.db.models.functions import Cast, Lower
from django.http import HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from accounts.authentication.requests import AuthenticatedRequest
from accounts.passwords.views import NO_PASSWORD_NOTICE_READ
from commands.models import Command
from devices.models import Device
from telemetry.keys import registry as keys
from telemetry.queries import history, sparklines
from telemetry.queries.sparklines import Point
from telemetry_site.dashboard import charts, sparkline_svg

DEVICES_PER_PAGE = 50
VALUES_PER_ROW = 3
LATEST_DEPTH = 20
"""Of each device in the list, how many of its newest readings are searched for its types."""

STATUSES: dict[str, str | Promise] = {
    "": _("All"),
    "online": _("Online"),
    "offline": _("Offline"),
    "pending": _("Pending commands"),
    "never": _("Never seen"),
}
ORDERS: dict[str, tuple[str | Promise, list[Any]]] = {
    "": (_("Name"), [Lower("name"), "id"]),
    "seen": (_("Last seen"), [F("last_seen_at").desc(nulls_last=True), "id"]),
    "silent": (_("Longest silent"), [F("last_seen_at").asc(nulls_first=True), "id"]),
    "type": (_("Type"), [Lower("device_type"), Lower("name"), "id"]),
    "added": (_("Newest"), ["-created_at", "-id"]),
}


class Row(NamedTuple):
    """One device in the list."""

    device: Device
    values: list[charts.ChartValue]
    waiting: int
    spark: str


class ListQuery(NamedTuple):
    """What the address asks for."""

    query: str
    status: str
    sort: str

    def address(self, **instead: str) -> str:
        """The query of an address that asks for it, or for something else instead."""
        given = {"q": self.query, "status": self.status, "sort": self.sort, **instead}
        return "?" + urlencode({name: value for name, value in given.items() if value})


class CountedPaginator(Paginator[Device]):
    """Pages of what was counted already."""

    def __init__(self, devices: QuerySet[Device], count: int) -> None:
        super().__init__(devices, DEVICES_PER_PAGE)
        self.__dict__["count"] = count


@login_required
@require_safe
def home(request: AuthenticatedRequest) -> HttpResponse:
    """All of one's devices and how they are doing."""
    user = request.user
    remind = not (user.has_usable_password() or request.session.get(NO_PASSWORD_NOTICE_READ))
    context = {**_device_list(request, timezone.now()), "no_password": remind}
    return render(request, "home.html", context)


@login_required
@require_safe
def device_rows(request: AuthenticatedRequest) -> HttpResponse:
    """The list alone: asked for again and again while someone looks."""
    return render(request, "_devices.html", _device_list(request, timezone.now()))


def _device_list(request: AuthenticatedRequest, now: datetime) -> dict[str, Any]:
    asked = _parse_query(request)
    matching = _search(request, asked.query, now)
    statuses = _statuses(now)
    counts = matching.order_by().aggregate(
        **{f"with_{name}": Count("pk", filter=which) for name, which in statuses.items()}
    )
    devices = matching.filter(statuses[asked.status]).order_by(*ORDERS[asked.sort][1])
    pages = CountedPaginator(devices, counts[f"with_{asked.status}"])
    page = pages.get_page(request.GET.get("page"))
    return {
        "query": asked.query,
        "chips": _status_filters(counts, asked),
        "status": asked.status,
        "sort": asked.sort,
        "orders": [(name, label) for name, (label, _order) in ORDERS.items()],
        "page": page,
        "rows": _rows(page, now),
        "filters": asked.address(),
        "offline": counts["with_offline"],
        "icon": _icon(counts["with_offline"]),
    }


def _parse_query(request: AuthenticatedRequest) -> ListQuery:
    # PostgreSQL takes no NUL, and no name has one.
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    status, sort = request.GET.get("status", ""), request.GET.get("sort", "")
    return ListQuery(query, status if status in STATUSES else "", sort if sort in ORDERS else "")


def _search(request: AuthenticatedRequest, query: str, now: datetime) -> QuerySet[Device]:
    devices = Device.objects.visible_to(request.user).with_presence(now)
    if not query:
        return devices
    told = Q(name__icontains=query) | Q(device_type__icontains=query)
    return devices.alias(told=Cast("metadata", TextField())).filter(told | Q(told__icontains=query))


def _statuses(now: datetime) -> dict[str, Q]:
    waiting = Command.objects.waiting(now).order_by().values("device")
    return {
        "": Q(),
        "online": Q(online=True),
        "offline": Q(online=False, last_seen_at__isnull=False),
        "pending": Q(pk__in=waiting),
        "never": Q(last_seen_at=None),
    }


def _status_filters(counts: dict[str, int], asked: ListQuery) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "count": counts[f"with_{name}"],
            "filters": asked.address(status=name),
            "status": name,
            "chosen": name == asked.status,
        }
        for name, label in STATUSES.items()
    ]


def _icon(offline: int) -> str:
    """The icon of the site with how many devices are offline on it, as an address."""
    drawn = render_to_string("_favicon.svg", {"offline": "9+" if offline > 9 else offline})
    return "data:image/svg+xml," + quote(drawn.strip(), safe=" =:/'")


def _rows(page: Page[Device], now: datetime) -> list[Row]:
    devices = list(page.object_list)
    latest = history.latest_readings(devices, depth=LATEST_DEPTH, rare=False)
    displays = keys.display_formats_for(devices)
    found = {device.pk: charts.groups(latest[device.pk], displays[device.pk]) for device in devices}
    waiting = dict(
        Command.objects.waiting(now)
        .filter(device__in=devices)
        .order_by()
        .values_list("device")
        .annotate(Count("pk"))
    )
    lines = _lines(devices, found, now)
    return [
        Row(
            device,
            _headline_values(found[device.pk]),
            waiting.get(device.pk, 0),
            sparkline_svg.svg_path(lines.get(device.pk, [])),
        )
        for device in devices
    ]


def _lines(
    devices: Sequence[Device], found: dict[UUID, list[charts.Group]], now: datetime
) -> dict[UUID, list[Point]]:
    """How the first value of each device went."""
    wanted = [
        sparklines.SparklineKey(device.pk, *value.series.split(".", 1))
        for device in devices
        for value in _headline_values(found[device.pk])[:1]
        if value.series
    ]
    recent = sparklines.recent_points(wanted, now=now)
    return {one.device: points for one, points in recent.items()}


def _headline_values(found: Iterable[charts.Group]) -> list[charts.ChartValue]:
    """The few values that stand for a device: of its newest reading first, numbers first."""
    newest_first = sorted(found, key=lambda group: group.recorded_at, reverse=True)
    values = [value for group in newest_first for value in group.values]
    return sorted(values, key=lambda value: not value.series)[:VALUES_PER_ROW]
