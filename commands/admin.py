"""Commands and what devices can be asked, for staff."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from accounts.audited import AuditedAdmin, RecordingAdmin
from accounts.autocomplete import CheckedAutocomplete
from accounts.models import User
from commands import catalogue, lifecycle
from commands.models import Command, CommandType
from devices.free_json import InvalidJSON
from devices.models import Device


class CommandForm(forms.ModelForm[Command]):
    class Meta:
        model = Command
        fields = ("device", "command_name", "payload")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if not self.errors:
            values["payload"] = {} if values["payload"] is None else values["payload"]
            try:
                lifecycle.check(values["device"], values["command_name"], values["payload"])
            except InvalidJSON as error:
                for fault in error.faults:
                    field, _, rest = fault.pointer.removeprefix("/").partition("/")
                    self.add_error(field, f"{rest} {fault.detail}".strip())
        return values


@admin.register(Command)
class CommandAdmin(AuditedAdmin[Command]):
    """Sent from here as from everywhere; once sent, only the device or a cancel moves one."""

    form = CommandForm
    list_display = ("command_name", "device", "status", "reason", "attempts", "created_at")
    list_filter = ("status", "reason")
    list_select_related = ("device",)
    search_fields = ("command_name", "device__name", "id")
    autocomplete_fields = ("device",)
    show_full_result_count = False
    actions = ("cancel",)

    def get_fields(self, request: HttpRequest, obj: Command | None = None) -> Any:
        if obj is None:
            return list(CommandForm.Meta.fields)
        return [field.name for field in Command._meta.fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Command | None = None) -> Any:
        return [] if obj is None else self.get_fields(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "device":
            kwargs["queryset"] = Device.objects.filter(deleted_at=None)
            kwargs["widget"] = CheckedAutocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        # What the address proposes is shown in the form only if there is such a device.
        proposed = super().get_changeform_initial_data(request)
        try:
            Command._meta.get_field("device").to_python(proposed.get("device"))
        except ValidationError:
            del proposed["device"]
        return proposed

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except lifecycle.QueueFull:
            self.message_user(
                request, "Too many commands wait for this device.", level=messages.ERROR
            )
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Command, form: Any, change: bool) -> None:
        sender = request.user if isinstance(request.user, User) else None
        issued = lifecycle.issue(**form.cleaned_data, issued_by=sender, now=timezone.now())
        obj.pk, obj._state.adding = issued.pk, False

    @admin.action(description="Cancel the selected commands", permissions=["add"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        cancelled = 0
        for command in queryset:
            try:
                lifecycle.cancel(command, now=timezone.now())
            except lifecycle.AlreadyFinished:
                continue
            cancelled += 1
        self.message_user(request, f"{cancelled} cancelled.")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CommandTypeForm(forms.ModelForm[CommandType]):
    class Meta:
        model = CommandType
        fields = ("device_type", "command_name", "title", "payload_schema", "confirm")

    def clean_payload_schema(self) -> Any:
        schema = self.cleaned_data["payload_schema"]
        try:
            catalogue.check_schema({} if schema is None else schema)
        except catalogue.InvalidSchema as error:
            raise forms.ValidationError(str(error)) from None
        return {} if schema is None else schema


@admin.register(CommandType)
class CommandTypeAdmin(RecordingAdmin[CommandType]):
    """The catalogue: what a type of device can be asked to do."""

    subject = "catalogue"
    form = CommandTypeForm
    list_display = ("device_type", "command_name", "title", "confirm")
    list_filter = ("device_type",)
    search_fields = ("command_name", "title")
