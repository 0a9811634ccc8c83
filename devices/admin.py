"""Devices, for staff."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts.audited import AuditedAdmin
from accounts.autocomplete import CheckedAutocomplete
from accounts.models import User
from devices import enrolment, free_json
from devices.models import Device, DeviceToken


class DeviceForm(forms.ModelForm[Device]):
    class Meta:
        model = Device
        fields = ("user", "name", "device_type", "expected_interval", "metadata")

    def clean_metadata(self) -> Any:
        metadata = self.cleaned_data["metadata"]
        metadata = {} if metadata is None else metadata
        if faults := free_json.check_object(metadata, limit=settings.PAYLOAD_LIMIT):
            raise forms.ValidationError([f"{fault.pointer} {fault.detail}" for fault in faults])
        return metadata


class DeviceTokenInline(admin.TabularInline[DeviceToken, Device]):
    """What is known of a device's tokens; the secrets themselves nobody can see."""

    model = DeviceToken
    fields = readonly_fields = (
        "prefix",
        "label",
        "revoked",
        "expires_at",
        "last_used_at",
        "created_at",
    )
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Device)
class DeviceAdmin(AuditedAdmin[Device]):
    """Every write goes through enrolment, as it does from the API and the pages."""

    form = DeviceForm
    list_display = ("name", "presence", "device_type", "user", "last_seen_at", "readings")
    list_filter = ("device_type",)
    list_select_related = ("user",)
    search_fields = ("name", "user__username", "user__email", "id")
    autocomplete_fields = ("user",)
    readonly_fields = ("id", "presence", "last_seen_at", "created_at", "updated_at", "readings")
    actions = ("rotate_tokens",)
    inlines = (DeviceTokenInline,)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        return Device.objects.filter(deleted_at=None).with_presence(timezone.now())

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:
        return (*DeviceForm.Meta.fields, *(self.readonly_fields if obj else ()))

    @admin.display(description="status")
    def presence(self, device: Any) -> str:
        return "online" if device.online else "offline"

    @admin.display(description="readings")
    def readings(self, device: Device) -> str:
        url = reverse("admin:telemetry_telemetry_changelist")
        return format_html('<a href="{}?device__id__exact={}">readings</a>', url, device.pk)

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        if change:
            enrolment.change(obj, **{field: form.cleaned_data[field] for field in form.fields})
            return
        values = dict(form.cleaned_data)
        device, secret = enrolment.register(values.pop("user"), **values)
        obj.pk, obj._state.adding = device.pk, False
        obj.first_secret = secret.text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Device, post_url_continue: str | None = None
    ) -> HttpResponse:
        # In the answer itself: a message would leave the secret in a cookie or a session.
        secret = obj.first_secret  # type: ignore[attr-defined]
        return self._show_secrets(request, [(obj, secret)])

    @admin.action(description="Rotate the tokens of the selected devices", permissions=["change"])
    def rotate_tokens(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        now = timezone.now()
        fresh = [(device, enrolment.rotate_token(device, now=now)[1].text) for device in queryset]
        return self._show_secrets(request, fresh)

    def _show_secrets(
        self, request: HttpRequest, secrets: list[tuple[Device, str]]
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": "Tokens", "secrets": secrets}
        return TemplateResponse(request, "admin/device_secrets.html", context)

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        enrolment.decommission(obj, now=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        for device in queryset:
            enrolment.decommission(device, now=timezone.now())

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # Not each of its readings: there may be millions.
        names = [f"{device.name}, with all its readings and commands" for device in objs]
        return names, {"devices": len(names)}, set(), []

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user":
            kwargs["queryset"] = User.objects.filter(is_active=True)
            kwargs["widget"] = CheckedAutocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)
