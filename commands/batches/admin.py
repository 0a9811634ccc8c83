"""Admin of batches of commands."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.audit.read_only_admin import ReadOnlyAdmin
from accounts.users.staff import get_staff_user
from commands import catalogue
from commands.batches import services as batches
from commands.forms import CommandForm
from commands.models import CommandBatch
from common.admin.keyset_pagination import KeysetAdmin
from devices.admin import DeviceAdmin
from devices.models import Device

MAX_COMMANDS_DISPLAYED = 100


@admin.register(CommandBatch)
class CommandBatchAdmin(ReadOnlyAdmin[CommandBatch], KeysetAdmin[CommandBatch]):
    """Batches of commands. Staff send them from the list of devices."""

    list_display = ("command_name", "asked", "issued_by", "created_at", "cancelled_at")
    list_select_related = ("issued_by",)
    search_fields = ("command_name",)
    fields = readonly_fields = (
        "command_name",
        "payload",
        "issued_by",
        "created_at",
        "expires_at",
        "cancelled_at",
        "id",
    )
    actions = ("cancel",)
    change_form_template = "admin/commands/commandbatch/change_form.html"

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        batch, now = kwargs["obj"], timezone.now()
        commands = batch.commands.select_related("device").order_by("device__name", "device_id")
        progress = batches.progress(batch, now=now)
        context |= {
            "batch": batch,
            "progress": progress,
            "results": [command.as_of(now) for command in commands[:MAX_COMMANDS_DISPLAYED]],
            "refused": batch.refused[:MAX_COMMANDS_DISPLAYED],
            "seconds": 2 if progress.pending else 30,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description=_("Cancel pending commands"), permissions=["send"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[CommandBatch]) -> None:
        cancelled = sum(batches.cancel(batch, now=timezone.now()) for batch in queryset)
        message = ngettext("%(count)d cancelled.", "%(count)d cancelled.", cancelled)
        self.message_user(request, message % {"count": cancelled})

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may send commands, and so may cancel them."""
        return request.user.has_perm("commands.add_command")


def send(
    devices_admin: DeviceAdmin, request: HttpRequest, queryset: QuerySet[Device]
) -> HttpResponse | None:
    """Show the form of a command, then send it. The batch page has the result of each device."""
    devices = list(queryset[: batches.DEVICES_LIMIT + 1])
    if len(devices) > batches.DEVICES_LIMIT:
        message = gettext("A command can go to at most %(limit)s devices.")
        params = {"limit": batches.DEVICES_LIMIT}
        devices_admin.message_user(request, message % params, level=messages.ERROR)
        return None
    types = {device.device_type for device in devices}
    # Several types have no common form: each validates the payload by its own command types.
    command_types = catalogue.for_types(types)[types.pop()] if len(types) == 1 else []
    form = CommandForm(command_types, command_name=request.POST.get("command", ""))
    if "send" in request.POST:
        form = CommandForm(command_types, request.POST)
        if form.is_valid() and (
            batch := form.send_to_many(devices, issued_by=get_staff_user(request))
        ):
            return redirect("admin:commands_commandbatch_change", batch.pk)
    context = {
        **devices_admin.admin_site.each_context(request),
        "title": gettext("Send a command"),
        "devices": devices,
        "form": form,
        "across": request.POST.get("select_across", "0"),
    }
    status = 422 if form.errors else 200
    return TemplateResponse(request, "admin/send_command.html", context, status=status)
