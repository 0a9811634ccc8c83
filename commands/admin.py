"""Commands and what devices can be asked, for staff."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.audited import AuditedAdmin, RecordingAdmin
from accounts.autocomplete import CheckedAutocomplete
from accounts.models import User
from accounts.read_only import ReadOnlyAdmin
from commands import batches, catalogue, lifecycle, schemas
from commands.forms import CommandForm as SendForm
from commands.models import Command, CommandBatch, CommandType
from devices.admin import DeviceAdmin
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
    list_display = ("command_name", "device", "status", "reason", "late", "attempts", "created_at")
    list_filter = ("status", "reason", "late")
    list_select_related = ("device",)
    search_fields = ("command_name", "device__name", "id")
    autocomplete_fields = ("device",)
    show_full_result_count = False
    actions = ("cancel", "send_again")

    def get_fields(self, request: HttpRequest, obj: Command | None = None) -> Any:
        if obj is None:
            return list(CommandForm.Meta.fields)
        return [field.name for field in Command._meta.fields if field.name != "request_digest"]

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
                request, _("Too many commands wait for this device."), level=messages.ERROR
            )
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Command, form: Any, change: bool) -> None:
        issued = lifecycle.issue(**form.cleaned_data, issued_by=staff(request), now=timezone.now())
        obj.pk, obj._state.adding = issued.pk, False

    @admin.action(description=gettext_lazy("Cancel the selected commands"), permissions=["add"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        cancelled = 0
        for command in queryset:
            try:
                lifecycle.cancel(command, now=timezone.now())
            except lifecycle.AlreadyFinished:
                continue
            cancelled += 1
        self.message_user(request, _("%(count)s cancelled.") % {"count": cancelled})

    @admin.action(description=gettext_lazy("Send the selected commands again"), permissions=["add"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        sent = 0
        for command in queryset.select_related("device"):
            try:
                lifecycle.retry(command, issued_by=staff(request), now=timezone.now())
            except (lifecycle.StillPending, lifecycle.QueueFull, InvalidJSON, Device.DoesNotExist):
                continue
            sent += 1
        total = queryset.count()
        level = messages.SUCCESS if sent == total else messages.WARNING
        told = {"count": sent, "total": total}
        self.message_user(request, _("%(count)s of %(total)s sent again.") % told, level=level)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CommandTypeForm(forms.ModelForm[CommandType]):
    class Meta:
        model = CommandType
        fields = (
            "device_type",
            "command_name",
            "title",
            "payload_schema",
            "confirm",
            "default_expiry",
        )

    def clean_payload_schema(self) -> Any:
        schema = self.cleaned_data["payload_schema"]
        try:
            schemas.check_schema({} if schema is None else schema)
        except schemas.InvalidSchema as error:
            raise forms.ValidationError(str(error)) from None
        return {} if schema is None else schema


@admin.register(CommandType)
class CommandTypeAdmin(RecordingAdmin[CommandType]):
    """The catalogue: what a type of device can be asked to do."""

    subject = "catalogue"
    form = CommandTypeForm
    list_display = ("device_type", "command_name", "title", "confirm", "default_expiry")
    list_filter = ("device_type",)
    search_fields = ("command_name", "title")


@admin.register(CommandBatch)
class CommandBatchAdmin(ReadOnlyAdmin[CommandBatch]):
    """What was sent to many devices at once. Sent from the list of devices."""

    list_display = ("command_name", "asked", "issued_by", "created_at", "cancelled_at")
    list_select_related = ("issued_by",)
    search_fields = ("command_name", "id")
    fields = readonly_fields = (
        "id",
        "command_name",
        "payload",
        "issued_by",
        "created_at",
        "expires_at",
        "cancelled_at",
        "progress",
        "refused",
    )
    show_full_result_count = False
    actions = ("cancel",)

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, batch: CommandBatch) -> str:
        counts = batches.progress(batch, now=timezone.now())._asdict()
        return ", ".join(f"{count} {name}" for name, count in counts.items())

    @admin.action(description=gettext_lazy("Cancel what still waits"), permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[CommandBatch]) -> None:
        if not request.user.has_perm("commands.add_command"):
            raise PermissionDenied
        cancelled = sum(batches.cancel(batch, now=timezone.now()) for batch in queryset)
        self.message_user(request, _("%(count)s cancelled.") % {"count": cancelled})


@admin.action(description=gettext_lazy("Send a command to the selected devices"))
def send_to_selected(
    devices_admin: DeviceAdmin, request: HttpRequest, queryset: QuerySet[Device]
) -> HttpResponse | None:
    """Ask which command, then send it; each device is answered for on the page of the batch."""
    if not request.user.has_perm("commands.add_command"):
        raise PermissionDenied
    devices = list(queryset[: batches.DEVICES_LIMIT + 1])
    if len(devices) > batches.DEVICES_LIMIT:
        text = _("A command goes to %(limit)s devices at the most.")
        devices_admin.message_user(
            request, text % {"limit": batches.DEVICES_LIMIT}, level=messages.ERROR
        )
        return None
    types = {device.device_type for device in devices}
    # Of several types none has a form: each judges the payload by its own catalogue.
    kinds = catalogue.for_types(types)[types.pop()] if len(types) == 1 else []
    form = SendForm(kinds, command_name=request.POST.get("command", ""))
    if "send" in request.POST:
        form = SendForm(kinds, request.POST)
        if form.is_valid() and (batch := form.send_to_many(devices, issued_by=staff(request))):
            return redirect("admin:commands_commandbatch_change", batch.pk)
    context = {
        **devices_admin.admin_site.each_context(request),
        "title": _("Send a command"),
        "devices": devices,
        "form": form,
        "across": request.POST.get("select_across", "0"),
    }
    return TemplateResponse(request, "admin/send_command.html", context)


# The room of devices knows nothing of commands: their list gets this action from here.
DeviceAdmin.actions = (*DeviceAdmin.actions, send_to_selected)  # type: ignore[assignment]


def staff(request: HttpRequest) -> User:
    """Who is signed in to the admin."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin has let them in
    return request.user
