"""Pages to send, watch, cancel and resend the commands of one device."""

from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import User
from commands import catalogue
from commands import services as command_services
from commands.forms import CommandForm
from commands.models import MAX_ATTEMPTS, Command
from common.strict_json import InvalidJSONValue
from devices.models import Device

MAX_DISPLAYED = 10


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def send(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Show the form of a command. A POST sends the command, or shows the errors at their fields."""
    device = _device(request.user, device_id)
    command_types = catalogue.for_device(device)
    if request.method != "POST":
        form = CommandForm(command_types, command_name=request.GET.get("command", ""))
        return _form(request, device, form)
    form = CommandForm(command_types, request.POST)
    if form.is_valid() and form.requires_confirmation and "confirmed" not in request.POST:
        return _form(
            request, device, form, confirm=confirmation_context(request, form, device.name)
        )
    sent = form.send(device, issued_by=request.user) if form.is_valid() else None
    if not sent:
        return _form(request, device, form, status=422)
    if not is_htmx(request):
        return redirect(reverse("device", args=[device.pk]) + "#commands")
    context = {
        **recent_commands_context(device, now=timezone.now()),
        "form": CommandForm(command_types, command_name=sent.command_name if command_types else ""),
        "sent": sent,
    }
    return render(request, "commands/_sent.html", context)


@login_required
@require_safe
def recent(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Show the newest commands with their status. The page polls this."""
    device = _device(request.user, device_id)
    return render(
        request, "commands/_list.html", recent_commands_context(device, now=timezone.now())
    )


@login_required
@require_safe
def timeline(request: AuthenticatedRequest, device_id: UUID, command_id: UUID) -> HttpResponse:
    """Show the timeline of one command. The page polls the part that changes."""
    device = _device(request.user, device_id)
    commands = device.commands.select_related("issued_by", "batch")
    command = get_object_or_404(commands, pk=command_id).as_of(timezone.now())
    page = "commands/_timeline.html" if is_htmx(request) else "commands/timeline.html"
    context = {
        "device": device,
        "command": command,
        "attempts_limit": MAX_ATTEMPTS,
        "retries": list(command.retries.all()[:MAX_DISPLAYED]),
        "own_batch": command.batch and command.batch.issued_by_id == request.user.pk,
    }
    return render(request, page, context)


@login_required
@require_POST
def cancel(request: AuthenticatedRequest, device_id: UUID, command_id: UUID) -> HttpResponse:
    """Cancel a command if it is pending. The page then shows its status."""
    device = _device(request.user, device_id)
    command = get_object_or_404(device.commands.all(), pk=command_id)
    with suppress(command_services.AlreadyFinished):
        command_services.cancel(command, now=timezone.now())
    if is_htmx(request):
        return render(
            request, "commands/_list.html", recent_commands_context(device, now=timezone.now())
        )
    if request.POST.get("back") == "timeline":
        return redirect("device-command", device.pk, command.pk)
    return redirect(reverse("device", args=[device.pk]) + "#commands")


@login_required
@require_POST
def retry(request: AuthenticatedRequest, device_id: UUID, command_id: UUID) -> HttpResponse:
    """Resend a command and redirect to the new one. A second click redirects to the same one."""
    device = _device(request.user, device_id)
    old = get_object_or_404(device.commands.all(), pk=command_id)
    idempotency_key = f"retry-{old.pk}-{request.POST.get('retries', '')[:10]}"
    try:
        new = command_services.resend(
            old, issued_by=request.user, now=timezone.now(), idempotency_key=idempotency_key
        )
    except command_services.StillPending:
        return redirect("device-command", device.pk, old.pk)
    except command_services.QueueFull:
        messages.error(
            request, _("Too many pending commands for this device. Cancel one, or wait.")
        )
    except InvalidJSONValue as error:
        messages.error(request, _("This device no longer accepts this command: %s") % error)
    else:
        return redirect("device-command", device.pk, new.pk)
    return redirect("device-command", device.pk, old.pk)


def command_panel_context(device: Device, *, now: datetime) -> dict[str, Any]:
    """Return the template context of the command form and the list of commands."""
    return {
        **recent_commands_context(device, now=now),
        "form": CommandForm(catalogue.for_device(device)),
    }


def recent_commands_context(device: Device, *, now: datetime) -> dict[str, Any]:
    """Return the template context of the list of commands."""
    commands = [command.as_of(now) for command in device.commands.all()[:MAX_DISPLAYED]]
    pending = any(command.status == Command.Status.PENDING for command in commands)
    # Poll more often while a command is pending.
    return {"device": device, "commands": commands, "seconds": 2 if pending else 5}


def confirmation_context(request: HttpRequest, form: CommandForm, target: str) -> dict[str, Any]:
    """Return the template context of the confirmation. Its form submits all values again."""
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        for value in values
        if name != "csrfmiddlewaretoken"
    ]
    return {"title": form.title, "target": target, "payload": form.payload, "fields": fields}


def is_htmx(request: HttpRequest) -> bool:
    """Return whether htmx requests a part of the page."""
    return "HX-Request" in request.headers


def _device(user: User, device_id: UUID) -> Device:
    devices = Device.objects.visible_to(user).with_presence(timezone.now())
    return get_object_or_404(devices, pk=device_id)


def _form(
    request: HttpRequest,
    device: Device,
    form: CommandForm,
    *,
    confirm: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    if is_htmx(request):
        page = "commands/_form.html"
    else:
        page = "commands/confirm.html" if confirm else "commands/send.html"
    context = {
        **recent_commands_context(device, now=timezone.now()),
        "form": form,
        "confirmation": confirm,
    }
    return render(request, page, context, status=status)
