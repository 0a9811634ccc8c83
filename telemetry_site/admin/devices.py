"""Devices, for staff, with what the other apps know of them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from procrastinate.exceptions import AlreadyEnqueued
from rest_framework.exceptions import ValidationError

from accounts.models import AuditEvent
from commands.batches import admin as batches_admin
from commands.models import Command
from common.admin.base import TitledChangeList
from devices.admin import DeviceAdmin
from devices.models import Device
from telemetry.api import series
from telemetry.keys import registry as keys
from telemetry.queries import history
from telemetry.retention import purge
from telemetry.tasks import purge_deleted_devices
from telemetry_site.dashboard import charts, history_page
from telemetry_site.templatetags.display import time_ago

COMMANDS_SHOWN = EVENTS_SHOWN = 10
PURGES_SHOWN = 100
TOKENS_SHOWN = 20


class DeviceChangeList(TitledChangeList):
    """A page of devices, with the number of commands that wait for each."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        waiting = (
            Command.objects.waiting(timezone.now())
            .filter(device__in=self.result_list)
            .order_by()
            .values_list("device")
            .annotate(Count("pk"))
        )
        counts = dict(waiting)
        for device in self.result_list:
            device.waiting_count = counts.get(device.pk, 0)


@admin.register(Device)
class SiteDeviceAdmin(DeviceAdmin):
    """What staff do all day."""

    list_display = (*DeviceAdmin.list_display, "waiting")
    actions = ("send_command", *DeviceAdmin.actions)
    change_form_template = "admin/devices/device/change_form.html"
    change_list_template = "admin/devices/device/change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeviceChangeList

    def get_urls(self) -> list[URLPattern]:
        door = self.admin_site.admin_view
        own = [
            path("purging/", door(self.purging), name="devices_device_purging"),
            path("<uuid:device_id>/series/", door(self.series), name="devices_device_series"),
            path("<uuid:device_id>/charts/", door(self.charts), name="devices_device_charts"),
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("last seen"), ordering="last_seen_at")
    def last_seen(self, device: Device) -> Any:
        return time_ago(device.last_seen_at) if device.last_seen_at else None

    @admin.display(description=_("commands"))
    def waiting(self, device: Any) -> Any:
        if not device.waiting_count:
            return None
        words = gettext("%(count)d waiting") % {"count": device.waiting_count}
        return format_html('<span class="state waiting">{}</span>', words)

    @admin.action(description=_("Send a command …"), permissions=["send"])
    def send_command(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return batches_admin.send(self, request, queryset)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Whoever may send commands may send them to many."""
        return request.user.has_perm("commands.add_command")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        device = kwargs.get("obj")
        if device is not None:
            context.update(self._panels(request, device))
        return super().render_change_form(request, context, *args, **kwargs)

    def series(self, request: HttpRequest, device_id: UUID) -> HttpResponse:
        """What the charts of any device are drawn from."""
        _require(request, "devices.view_device", "telemetry.view_telemetry")
        device = get_object_or_404(Device, pk=device_id, deleted_at=None)
        try:
            return series.series_response(device, request.GET)
        except ValidationError as error:
            return HttpResponse(str(error.detail), status=422, content_type="text/plain")

    def charts(self, request: HttpRequest, device_id: UUID) -> HttpResponse:
        """The site's own page, for any device."""
        _require(request, "devices.view_device", "telemetry.view_telemetry")
        device = get_object_or_404(Device, pk=device_id, deleted_at=None)
        here = [device.pk]
        place = history_page.PageUrls(
            page=reverse("admin:devices_device_charts", args=here),
            series=reverse("admin:devices_device_series", args=here),
            above=reverse("admin:devices_device_change", args=here),
            files=False,
        )
        return history_page.render_history(request, device, place)

    def purging(self, request: HttpRequest) -> HttpResponse:
        """How far the worker is with what was purged."""
        _require(request, "devices.view_device")
        count, devices = purge.in_progress(PURGES_SHOWN)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Being purged"),
            "opts": self.opts,
            "count": count,
            "devices": devices,
        }
        page = "_purging" if "HX-Request" in request.headers else "purging"
        return TemplateResponse(request, f"admin/devices/device/{page}.html", context)

    def decommission(self, request: HttpRequest, rows: Sequence[Device]) -> int:
        gone = super().decommission(request, rows)
        # The worker looks by itself every minute; whoever watches should not have to wait for it.
        with suppress(AlreadyEnqueued):
            purge_deleted_devices.defer(timestamp=int(timezone.now().timestamp()))  # type: ignore[call-arg]
        return gone

    def _panels(self, request: HttpRequest, device: Device) -> dict[str, Any]:
        """What stands beside the form: values, a chart, commands; as far as somebody may see it."""
        now = timezone.now()
        panels: dict[str, Any] = {"device": device, "now": now}
        if request.user.has_perm("telemetry.view_telemetry"):
            newest = history.latest_readings([device])[device.pk]
            groups = charts.groups(newest, keys.display_formats_for([device])[device.pk])
            panels |= {
                "groups": groups,
                "charts": charts.charts(
                    device, groups, wanted={"range": "24h", **request.GET.dict()}, now=now
                ),
                "series": reverse("admin:devices_device_series", args=[device.pk]),
            }
        if request.user.has_perm("commands.view_command"):
            recent = device.commands.select_related("issued_by")[:COMMANDS_SHOWN]
            panels["commands"] = [command.as_of(now) for command in recent]
        if request.user.has_perm("devices.view_devicetoken"):
            panels["tokens"] = device.tokens.order_by("revoked", "-created_at")[:TOKENS_SHOWN]
        panels["events"] = AuditEvent.objects.of_target(device)[:EVENTS_SHOWN]
        return panels


def _require(request: HttpRequest, *permissions: str) -> None:
    if not request.user.has_perms(permissions):
        raise PermissionDenied
