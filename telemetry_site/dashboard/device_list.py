"""The list of devices. The database filters, searches, sorts and paginates it."""

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
"""How many of the newest readings of each device are searched for its types."""

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
    "silent": (_("Offline longest"), [F("last_seen_at").asc(nulls_first=True), "id"]),
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
    """The parameters of the list."""

    query: str
    status: str
    sort: str

    def url_query(self, **changes: str) -> str:
        """Return the query string of this list, with some parameters changed."""
        parameters = {"q": self.query, "status": self.status, "sort": self.sort, **changes}
        return "?" + urlencode({name: value for name, value in parameters.items() if value})


class CountedPaginator(Paginator[Device]):
    """A paginator with a known count, so that it does not count again."""

    def __init__(self, devices: QuerySet[Device], count: int) -> None:
        super().__init__(devices, DEVICES_PER_PAGE)
        self.__dict__["count"] = count


@login_required
@require_safe
def home(request: AuthenticatedRequest) -> HttpResponse:
    """All devices of the user with their status."""
    user = request.user
    remind = not (user.has_usable_password() or request.session.get(NO_PASSWORD_NOTICE_READ))
    context = {**_device_list(request, timezone.now()), "no_password": remind}
    return render(request, "home.html", context)


@login_required
@require_safe
def device_rows(request: AuthenticatedRequest) -> HttpResponse:
    """Only the list: an open page refreshes it regularly."""
    return render(request, "_devices.html", _device_list(request, timezone.now()))


def _device_list(request: AuthenticatedRequest, now: datetime) -> dict[str, Any]:
    list_query = _parse_query(request)
    matching = _search(request, list_query.query, now)
    statuses = _statuses(now)
    counts = matching.order_by().aggregate(
        **{f"with_{name}": Count("pk", filter=which) for name, which in statuses.items()}
    )
    devices = matching.filter(statuses[list_query.status]).order_by(*ORDERS[list_query.sort][1])
    pages = CountedPaginator(devices, counts[f"with_{list_query.status}"])
    page = pages.get_page(request.GET.get("page"))
    return {
        "query": list_query.query,
        "chips": _status_filters(counts, list_query),
        "status": list_query.status,
        "sort": list_query.sort,
        "orders": [(name, label) for name, (label, _order) in ORDERS.items()],
        "page": page,
        "rows": _rows(page, now),
        "filters": list_query.url_query(),
        "offline": counts["with_offline"],
        "icon": _icon(counts["with_offline"]),
    }


def _parse_query(request: AuthenticatedRequest) -> ListQuery:
    # PostgreSQL rejects NUL bytes, and names have none.
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    status, sort = request.GET.get("status", ""), request.GET.get("sort", "")
    return ListQuery(query, status if status in STATUSES else "", sort if sort in ORDERS else "")


def _search(request: AuthenticatedRequest, query: str, now: datetime) -> QuerySet[Device]:
    devices = Device.objects.visible_to(request.user).with_presence(now)
    if not query:
        return devices
    matches = Q(name__icontains=query) | Q(device_type__icontains=query)
    with_text = devices.alias(metadata_text=Cast("metadata", TextField()))
    return with_text.filter(matches | Q(metadata_text__icontains=query))


def _statuses(now: datetime) -> dict[str, Q]:
    with_pending = Command.objects.pending_at(now).order_by().values("device")
    return {
        "": Q(),
        "online": Q(online=True),
        "offline": Q(online=False, last_seen_at__isnull=False),
        "pending": Q(pk__in=with_pending),
        "never": Q(last_seen_at=None),
    }


def _status_filters(counts: dict[str, int], list_query: ListQuery) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "count": counts[f"with_{name}"],
            "filters": list_query.url_query(status=name),
            "status": name,
            "chosen": name == list_query.status,
        }
        for name, label in STATUSES.items()
    ]


def _icon(offline: int) -> str:
    """Return the favicon with the number of offline devices, as a data URL."""
    svg = render_to_string("_favicon.svg", {"offline": "9+" if offline > 9 else offline})
    return "data:image/svg+xml," + quote(svg.strip(), safe=" =:/'")


def _rows(page: Page[Device], now: datetime) -> list[Row]:
    devices = list(page.object_list)
    latest = history.latest_readings(devices, depth=LATEST_DEPTH, include_rare_types=False)
    displays = keys.display_formats_for(devices)
    found = {device.pk: charts.groups(latest[device.pk], displays[device.pk]) for device in devices}
    pending = dict(
        Command.objects.pending_at(now)
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
            pending.get(device.pk, 0),
            sparkline_svg.svg_path(lines.get(device.pk, [])),
        )
        for device in devices
    ]


def _lines(
    devices: Sequence[Device], found: dict[UUID, list[charts.Group]], now: datetime
) -> dict[UUID, list[Point]]:
    """Return the recent points of the first value of each device."""
    sparkline_keys = [
        sparklines.SparklineKey(device.pk, *value.series.split(".", 1))
        for device in devices
        for value in _headline_values(found[device.pk])[:1]
        if value.series
    ]
    recent = sparklines.recent_points(sparkline_keys, now=now)
    return {key.device: points for key, points in recent.items()}


def _headline_values(found: Iterable[charts.Group]) -> list[charts.ChartValue]:
    """Return the few values to display for a device: numbers first, then newest readings first."""
    newest_first = sorted(found, key=lambda group: group.recorded_at, reverse=True)
    values = [value for group in newest_first for value in group.values]
    return sorted(values, key=lambda value: not value.series)[:VALUES_PER_ROW]
