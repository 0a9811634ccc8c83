"""Readings, for staff: to be looked at, one device at a time."""

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.read_only import ReadOnlyAdmin
from telemetry.models import Telemetry

DEVICE_CHOSEN = "device__id__exact"
COUNT_LIMIT = 10_000


class CappedPaginator(Paginator[Telemetry]):
    """Counts no further than COUNT_LIMIT: a full count would read the whole table."""

    @property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)  # noqa: S101 - the admin's always is
        return self.object_list.order_by()[:COUNT_LIMIT].count()


@admin.register(Telemetry)
class TelemetryAdmin(ReadOnlyAdmin[Telemetry]):
    """The newest readings of the device that its page in the admin links from."""

    list_display = ("recorded_at", "telemetry_type", "payload", "created_at")
    list_display_links = None
    sortable_by = ()
    ordering = ("-recorded_at", "-id")
    paginator = CappedPaginator
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Telemetry]:
        readings = super().get_queryset(request)
        return readings if request.GET.get(DEVICE_CHOSEN) else readings.none()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == DEVICE_CHOSEN
