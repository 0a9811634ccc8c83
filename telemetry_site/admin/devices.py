"""The admin of devices, with data of the other apps."""

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

MAX_COMMANDS_DISPLAYED = MAX_EVENTS_DISPLAYED = 10
MAX_PURGES_DISPLAYED = 100
MAX_TOKENS_DISPLAYED = 20


class DeviceChangeList(TitledChangeList):
    """A page of devices with the number of pending commands of each."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        pending = (
            Command.objects.pending_at(timezone.now())
            .filter(device__in=self.result_list)
            .order_by()
            .values_list("device")
            .annotate(Count("pk"))
        )
        counts = dict(pending)
        for device in self.result_list:
            device.pending_count = counts.get(device.pk, 0)


@admin.register(Device)
class SiteDeviceAdmin(DeviceAdmin):
    """The admin of devices with commands, charts and the state of purges."""

    list_display = (*DeviceAdmin.list_display, "waiting")
    actions = ("send_command", *DeviceAdmin.actions)
    change_form_template = "admin/devices/device/change_form.html"
    change_list_template = "admin/devices/device/change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeviceChangeList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("purging/", view(self.purging), name="devices_device_purging"),
            path("<uuid:device_id>/series/", view(self.series), name="devices_device_series"),
            path("<uuid:device_id>/charts/", view(self.charts), name="devices_device_charts"),
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("last seen"), ordering="last_seen_at")
    def last_seen(self, device: Device) -> Any:
        return time_ago(device.last_seen_at) if device.last_seen_at else None

    @admin.display(description=_("commands"))
    def waiting(self, device: Any) -> Any:
        if not device.pending_count:
            return None
        text = gettext("%(count)d pending") % {"count": device.pending_count}
        return format_html('<span class="state waiting">{}</span>', text)

    @admin.action(description=_("Send a command …"), permissions=["send"])
    def send_command(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return batches_admin.send(self, request, queryset)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may send commands; then they may send them to many devices."""
        return request.user.has_perm("commands.add_command")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        device = kwargs.get("obj")
        if device is not None:
            context.update(self._panels(request, device))
        return super().render_change_form(request, context, *args, **kwargs)

    def series(self, request: HttpRequest, device_id: UUID) -> HttpResponse:
        """Return the data of the charts of any device."""
        _require(request, "devices.view_device", "telemetry.view_telemetry")
        device = get_object_or_404(Device, pk=device_id, deleted_at=None)
        try:
            return series.series_response(device, request.GET)
        except ValidationError as error:
            return HttpResponse(str(error.detail), status=422, content_type="text/plain")

    def charts(self, request: HttpRequest, device_id: UUID) -> HttpResponse:
        """Render the history page of the site for any device."""
        _require(request, "devices.view_device", "telemetry.view_telemetry")
        device = get_object_or_404(Device, pk=device_id, deleted_at=None)
        args = [device.pk]
        urls = history_page.PageUrls(
            page=reverse("admin:devices_device_charts", args=args),
            series=reverse("admin:devices_device_series", args=args),
            parent=reverse("admin:devices_device_change", args=args),
            files=False,
        )
        return history_page.render_history(request, device, urls)

    def purging(self, request: HttpRequest) -> HttpResponse:
        """Display the progress of the deletion of devices."""
        _require(request, "devices.view_device")
        count, devices = purge.in_progress(MAX_PURGES_DISPLAYED)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Deletion queue"),
            "opts": self.opts,
            "count": count,
            "devices": devices,
        }
        page = "_purging" if "HX-Request" in request.headers else "purging"
        return TemplateResponse(request, f"admin/devices/device/{page}.html", context)

    def decommission(self, request: HttpRequest, rows: Sequence[Device]) -> int:
        count = super().decommission(request, rows)
        # Start the job now: it runs every minute anyway, but staff may watch the progress page.
        with suppress(AlreadyEnqueued):
            purge_deleted_devices.defer(timestamp=int(timezone.now().timestamp()))  # type: ignore[call-arg]
        return count

    def _panels(self, request: HttpRequest, device: Device) -> dict[str, Any]:
        """Return the context of the panels beside the form that the user has permission to see."""
        now = timezone.now()
        panels: dict[str, Any] = {"device": device, "now": now}
        if request.user.has_perm("telemetry.view_telemetry"):
            newest = history.latest_readings([device])[device.pk]
            groups = charts.groups(newest, keys.display_formats_for([device])[device.pk])
            panels |= {
                "groups": groups,
                "charts": charts.charts(
                    device, groups, query={"range": "24h", **request.GET.dict()}, now=now
                ),
                "series": reverse("admin:devices_device_series", args=[device.pk]),
            }
        if request.user.has_perm("commands.view_command"):
            recent = device.commands.select_related("issued_by")[:MAX_COMMANDS_DISPLAYED]
            panels["commands"] = [command.as_of(now) for command in recent]
        if request.user.has_perm("devices.view_devicetoken"):
            panels["tokens"] = device.tokens.order_by("revoked", "-created_at")[
                :MAX_TOKENS_DISPLAYED
            ]
        panels["events"] = AuditEvent.objects.for_target(device)[:MAX_EVENTS_DISPLAYED]
        return panels


def _require(request: HttpRequest, *permissions: str) -> None:
    if not request.user.has_perms(permissions):
        raise PermissionDenied
