"""Readings, for staff: to be looked at, one device at a time; and how long they are kept."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.audited import RecordingAdmin
from accounts.autocomplete import CheckedAutocomplete
from accounts.read_only import ReadOnlyAdmin
from devices.models import Device
from telemetry import expiry
from telemetry.models import RetentionRule, Telemetry

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


@admin.register(RetentionRule)
class RetentionRuleAdmin(RecordingAdmin[RetentionRule]):
    """Rules are applied at night; until then the list shows what would go by them."""

    subject = "retention"
    list_display = ("__str__", "readings", "hourly_values", "daily_values")
    list_select_related = ("device",)
    autocomplete_fields = ("device",)
    fields = ("device_type", "device", "raw_days", "hour_days", "day_days")
    sortable_by = ()

    @admin.display(description="readings")
    def readings(self, rule: RetentionRule) -> str:
        return _age(rule.raw_days)

    @admin.display(description="hourly values")
    def hourly_values(self, rule: RetentionRule) -> str:
        return _age(rule.hour_days)

    @admin.display(description="daily values")
    def daily_values(self, rule: RetentionRule) -> str:
        return _age(rule.day_days)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "device":
            kwargs["queryset"] = Device.objects.filter(deleted_at=None)
            kwargs["widget"] = CheckedAutocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        preview = {"preview": expiry.preview(timezone.now())}
        return super().changelist_view(request, {**(extra_context or {}), **preview})


def _age(days: int | None) -> str:
    if days is None:
        return "for ever"
    return "1 day" if days == 1 else f"{days:,} days"
