"""Admin pages for staff: the readings of one device at a time, and the retention rules."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.audit.admin_base import AutoAuditedAdmin
from accounts.audit.read_only_admin import ReadOnlyAdmin
from common.admin.keyset_pagination import estimated_count
from common.admin.widgets import SafeAutocompleteSelect
from devices.models import Device
from telemetry.models import RetentionRule, Telemetry
from telemetry.queries import history
from telemetry.retention import apply as expiry

PER_PAGE = 50


class ReadingsForm(forms.Form):
    """Selects a device and a telemetry type."""

    device = forms.ModelChoiceField(
        Device.objects.filter(deleted_at=None), label=_("Device"), required=False
    )
    type = forms.CharField(label=_("Type"), max_length=64, required=False)

    def __init__(self, widget: forms.Widget, data: Any) -> None:
        super().__init__(data)
        self.fields["device"].widget = widget
        widget.choices = self.fields["device"].choices  # type: ignore[attr-defined]


@admin.register(Telemetry)
class TelemetryAdmin(ReadOnlyAdmin[Telemetry]):
    """Pages with the readings of one device. A list of all readings would be too slow."""

    def get_urls(self) -> list[URLPattern]:
        # There is no detail page: a look-up by id alone would search every partition.
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="telemetry_telemetry_changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        widget = SafeAutocompleteSelect(Telemetry._meta.get_field("device"), self.admin_site)
        form = ReadingsForm(widget, request.GET)
        device = form.cleaned_data["device"] if form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Telemetry"),
            "opts": self.opts,
            "form": form,
            "media": self.media + widget.media,
            "device": device,
            "estimate": estimated_count(Telemetry),
            **(_page(device, form.cleaned_data["type"], request.GET) if device else {}),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/telemetry/telemetry/change_list.html", context)


def _page(device: Device, telemetry_type: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return readings, newest first, and the URLs of the newer and the older page."""
    newer = params.get("turn") == "newer"
    cursor = params.get("cursor", "")
    filters: dict[str, Any] = {"limit": PER_PAGE, "telemetry_type": telemetry_type}
    try:
        readings, more = history.page(device, cursor=cursor, ascending=newer, **filters)
    except history.InvalidCursor:
        newer, cursor = False, ""
        readings, more = history.page(device, **filters)
    has_newer, has_older = (bool(more), bool(cursor)) if newer else (bool(cursor), bool(more))
    rows = readings[::-1] if newer else readings
    query = {"device": str(device.pk), "type": telemetry_type}
    pages = {}
    if rows and has_newer:
        cursor = history.cursor_of(rows[0])
        pages["newer"] = "?" + urlencode({**query, "turn": "newer", "cursor": cursor})
    if rows and has_older:
        pages["older"] = "?" + urlencode({**query, "cursor": history.cursor_of(rows[-1])})
    return {"readings": rows, **pages}


@admin.register(RetentionRule)
class RetentionRuleAdmin(AutoAuditedAdmin[RetentionRule]):
    """Rules are applied at night; the list shows which rows they would delete."""

    audit_category = "retention"
    list_display = ("__str__", "readings", "hourly_values", "daily_values")
    list_select_related = ("device",)
    autocomplete_fields = ("device",)
    fields = ("device_type", "device", "raw_days", "hour_days", "day_days")
    sortable_by = ()

    @admin.display(description=_("readings"))
    def readings(self, rule: RetentionRule) -> str:
        return _age(rule.raw_days)

    @admin.display(description=_("hourly values"))
    def hourly_values(self, rule: RetentionRule) -> str:
        return _age(rule.hour_days)

    @admin.display(description=_("daily values"))
    def daily_values(self, rule: RetentionRule) -> str:
        return _age(rule.day_days)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "device":
            kwargs["queryset"] = Device.objects.filter(deleted_at=None)
            kwargs["widget"] = SafeAutocompleteSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        preview = {"preview": expiry.preview(timezone.now())}
        return super().changelist_view(request, {**(extra_context or {}), **preview})


def _age(days: int | None) -> str:
    if days is None:
        return gettext("forever")
    return ngettext("%(count)s day", "%(count)s days", days) % {
        "count": number_format(days, force_grouping=True)
    }
