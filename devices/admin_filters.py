"""Filters of the admin's list of devices."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from common.db import loose_index_scan
from devices.models import Device

MAX_TYPES_LISTED = 50


class StatusFilter(admin.SimpleListFilter):
    """Filters by the computed status, not by the last announced one."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("online", _("Online")),
            ("offline", _("Offline")),
            ("never", _("Never seen")),
            ("deactivated", _("Deactivated")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        match self.value():
            case "online":
                return queryset.online(now)
            case "offline":
                return queryset.offline(now).exclude(last_seen_at=None)
            case "never":
                return queryset.filter(last_seen_at=None)
            case "deactivated":
                return queryset.exclude(deactivated_at=None)
        return queryset


class TypeFilter(admin.SimpleListFilter):
    """Filters by device type, with the types of existing devices."""

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        types = loose_index_scan.distinct_values(
            Device, "device_type", limit=MAX_TYPES_LISTED, where="deleted_at IS NULL"
        )
        return [(name, name) for name in types]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return queryset.filter(device_type=self.value()) if self.value() else queryset
