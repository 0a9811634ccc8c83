"""The commands of one device: sending, watching, taking back."""

from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from accounts.views import SignedInRequest
from commands import lifecycle
from commands.forms import CommandForm
from commands.models import Command
from devices.free_json import InvalidJSON
from devices.models import Device

SHOWN = 10


@login_required
@require_POST
def send(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """Issue a command; what is wrong with it is shown at its field."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    form = CommandForm(device, request.POST)
    now = timezone.now()
    sent = _issue(form, device, issued_by=request.user, now=now) if form.is_valid() else None
    partial = "HX-Request" in request.headers
    if not sent:
        page = "commands/_form.html" if partial else "commands/send.html"
        return render(request, page, {"device": device, "form": form}, status=422)
    if not partial:
        return redirect(reverse("device", args=[device.pk]) + "#commands")
    context = {**panel(device, now=now), "sent": sent}
    return render(request, "commands/_sent.html", context)


@login_required
@require_safe
def recent(request: SignedInRequest, device_id: UUID) -> HttpResponse:
    """The newest commands as they stand: asked for again and again while someone looks."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    return render(request, "commands/_list.html", newest(device, now=timezone.now()))


@login_required
@require_POST
def cancel(request: SignedInRequest, device_id: UUID, command_id: UUID) -> HttpResponse:
    """Take a command back, unless it has ended: then the list tells how."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    command = get_object_or_404(device.commands.all(), pk=command_id)
    with suppress(lifecycle.AlreadyFinished):
        lifecycle.cancel(command, now=timezone.now())
    if "HX-Request" in request.headers:
        return render(request, "commands/_list.html", newest(device, now=timezone.now()))
    return redirect(reverse("device", args=[device.pk]) + "#commands")


def panel(device: Device, *, now: datetime) -> dict[str, Any]:
    """What the form and the list of commands are rendered from."""
    return {**newest(device, now=now), "form": CommandForm(device)}


def newest(device: Device, *, now: datetime) -> dict[str, Any]:
    """What the list of commands is rendered from."""
    commands = [command.as_of(now) for command in device.commands.all()[:SHOWN]]
    pending = any(command.status == Command.Status.PENDING for command in commands)
    # Where something is about to change it is looked at more often.
    return {"device": device, "commands": commands, "seconds": 2 if pending else 5}


def _issue(form: CommandForm, device: Device, *, issued_by: User, now: datetime) -> Command | None:
    """The new command, or None when the form tells why there is none."""
    try:
        return lifecycle.issue(device, issued_by=issued_by, now=now, **form.cleaned_data)
    except InvalidJSON as error:
        form.add_faults(error)
    except ValidationError as error:
        form.add_error(None, error)
    except lifecycle.QueueFull:
        form.add_queue_full()
    return None
