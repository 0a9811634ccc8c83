"""Admin of commands."""

import json
import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.audit.admin_base import AuditedAdmin
from accounts.users.staff import get_staff_user
from commands import services as command_services
from commands.models import Command
from common.admin.filters import AutocompleteFilter, autocomplete_media
from common.admin.keyset_pagination import KeysetAdmin
from common.admin.widgets import SafeAutocompleteSelect
from common.db import loose_index_scan
from common.strict_json import InvalidJSONValue
from devices.forms import JSONObjectField
from devices.models import Device

TIMES = (
    "created_at",
    "delivered_at",
    "lease_until",
    "expires_at",
    "executed_at",
    "finished_at",
)
MAX_DEVICES_SEARCHED = 1000
"""Devices with a matching name whose commands a search finds."""
MAX_NAMES_SEARCHED = 1000
"""Distinct command names that a search compares."""


class CommandForm(forms.ModelForm[Command]):
    payload = JSONObjectField(label=_("Payload"))

    class Meta:
        model = Command
        fields = ("device", "command_name", "payload")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if not self.errors:
            try:
                command_services.validate_command(
                    values["device"], values["command_name"], values["payload"]
                )
            except InvalidJSONValue as error:
                for fault in error.faults:
                    field, _slash, rest = fault.pointer.removeprefix("/").partition("/")
                    self.add_error(field, f"{rest} {fault.detail}".strip())
        return values


@admin.register(Command)
class CommandAdmin(AuditedAdmin[Command], KeysetAdmin[Command]):
    """Staff can send and cancel commands but not edit them."""

    form = CommandForm
    list_display = (
        "command_name",
        "device_link",
        "state",
        "failure_reason",
        "sender",
        "created_at",
    )
    list_filter = ("status", "reason", "late", ("device", AutocompleteFilter))
    list_select_related = ("device", "issued_by")
    search_fields = ("command_name",)
    search_help_text = _("Search start of command name, device name or full id")
    autocomplete_fields = ("device",)
    actions = ("cancel", "send_again")
    change_form_template = "admin/commands/command/change_form.html"
    fieldsets = (
        (None, {"fields": ("command_name", "device_link", "state", "failure_reason", "sender")}),
        (_("Payload and result"), {"fields": ("payload_json", "result_json")}),
        (_("Timestamps"), {"fields": (*TIMES, "late", "attempts", "retry_of", "batch", "id")}),
    )

    @property
    def media(self) -> forms.Media:
        return super().media + autocomplete_media(self)

    def get_fieldsets(self, request: HttpRequest, obj: Command | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": CommandForm.Meta.fields})]
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Command | None = None) -> Any:
        if obj is None:
            return ()
        return [name for _title, options in self.fieldsets for name in options["fields"]]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Command | None:
        command = super().get_object(request, object_id, from_field)
        return command.as_of(timezone.now()) if command else None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Command], search_term: str
    ) -> tuple[QuerySet[Command], bool]:
        text = search_term.strip()[:200]
        if not text:
            return queryset, False
        try:
            searched_id = uuid.UUID(text)
        except ValueError:
            # Look up names and devices first: PostgreSQL can estimate how rare constant values
            # are, and does not scan all commands if none matches.
            names = loose_index_scan.distinct_values(
                Command, "command_name", limit=MAX_NAMES_SEARCHED
            )
            names = [name for name in names if name.lower().startswith(text.lower())]
            named = Device.objects.filter(name__icontains=text).values_list("pk", flat=True)
            found = Q(command_name__in=names) | Q(device__in=list(named[:MAX_DEVICES_SEARCHED]))
            return queryset.filter(found), False
        return queryset.filter(Q(pk=searched_id) | Q(device=searched_id)), False

    @admin.display(description=_("device"))
    def device_link(self, command: Command) -> SafeString:
        url = reverse("admin:devices_device_change", args=[command.device_id])
        return format_html('<a href="{}">{}</a>', url, command.device.name)

    @admin.display(description=_("status"))
    def state(self, command: Command) -> SafeString:
        command = command.as_of(timezone.now())
        state, label = command.status, command.get_status_display()
        if command.status == Command.Status.PENDING:
            state = "delivered" if command.delivered_at else "waiting"
            label = gettext("Delivered") if command.delivered_at else gettext("Pending")
        return format_html('<span class="state {}">{}</span>', state, label.capitalize())

    @admin.display(description=_("reason"))
    def failure_reason(self, command: Command) -> str:
        return command.get_reason_display() if command.reason else "-"

    @admin.display(description=_("sent by"))
    def sender(self, command: Command) -> str:
        return command.issued_by.username if command.issued_by else "-"

    @admin.display(description=_("payload"))
    def payload_json(self, command: Command) -> str:
        return _to_html(command.payload)

    @admin.display(description=_("result"))
    def result_json(self, command: Command) -> str:
        return _to_html(command.result)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "device":
            kwargs["queryset"] = Device.objects.filter(deleted_at=None)
            kwargs["widget"] = SafeAutocompleteSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        # Ignore an invalid device id in the query string.
        initial = super().get_changeform_initial_data(request)
        try:
            Command._meta.get_field("device").to_python(initial.get("device"))
        except ValidationError:
            del initial["device"]
        return initial

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except command_services.QueueFull:
            message = gettext("Too many pending commands for this device.")
            self.message_user(request, message, level=messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Command, form: Any, change: bool) -> None:
        now = timezone.now()
        command = command_services.create_command(
            **form.cleaned_data, issued_by=get_staff_user(request), now=now
        )
        obj.pk, obj._state.adding = command.pk, False

    @admin.action(description=_("Cancel pending commands"), permissions=["add"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        cancelled = 0
        for command in queryset:
            try:
                command_services.cancel(command, now=timezone.now())
            except command_services.AlreadyFinished:
                continue
            cancelled += 1
        message = ngettext("%(count)d cancelled.", "%(count)d cancelled.", cancelled)
        self.message_user(request, message % {"count": cancelled})

    @admin.action(description=_("Send finished commands again"), permissions=["add"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        sent, commands = 0, list(queryset.select_related("device"))
        for command in commands:
            try:
                command_services.resend(
                    command, issued_by=get_staff_user(request), now=timezone.now()
                )
            except (
                command_services.StillPending,
                command_services.QueueFull,
                InvalidJSONValue,
                Device.DoesNotExist,
            ):
                continue
            sent += 1
        level = messages.SUCCESS if sent == len(commands) else messages.WARNING
        params = {"count": sent, "total": len(commands)}
        message = gettext("%(count)s of %(total)s commands sent again.")
        self.message_user(request, message % params, level=level)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _to_html(value: Any) -> str:
    if value is None:
        return "-"
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return format_html('<pre class="json">{}</pre>', text)
