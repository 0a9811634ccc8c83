"""One command to many devices, for people: choosing them, sending, watching, taking back."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import User
from commands import catalogue
from commands.batches import services as batches
from commands.forms import CommandForm, FilterForm
from commands.models import CommandBatch
from commands.views import confirmation, is_htmx
from devices.models import Device

BATCHES_SHOWN = 50
RESULTS_PER_PAGE = 100


class Choice(NamedTuple):
    """The devices somebody looks at, which of them are ticked, and whether there are more."""

    devices: list[Device]
    ticked: set[str]
    more: bool


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def send_many(request: AuthenticatedRequest) -> HttpResponse:
    """Filter, tick, fill in, confirm. Each device is answered for on the page of the batch."""
    now = timezone.now()
    wanted = FilterForm(request.GET)
    kinds = _command_types(request.user, wanted)
    if request.method != "POST":
        form = CommandForm(kinds, command_name=request.GET.get("command", ""))
        return _page(request, wanted, form, _choice(request.user, wanted, None, now))
    form = CommandForm(kinds, request.POST)
    choice = _choice(request.user, wanted, request.POST, now)
    ticked = [device for device in choice.devices if str(device.pk) in choice.ticked]
    if form.is_valid() and not ticked:
        form.add_error(None, _("Tick one device at the least."))
    if form.is_valid() and "confirmed" not in request.POST:
        target = _("%(count)s devices") % {"count": len(ticked)}
        asked = confirmation(request, form, target)
        return render(request, "commands/confirm_many.html", {"asked": asked, "form": form})
    batch = form.send_to_many(ticked, issued_by=request.user) if form.is_valid() else None
    if not batch:
        return _page(request, wanted, form, choice, status=422)
    return redirect("command-batch", batch.pk)


@login_required
@require_safe
def batch_list(request: AuthenticatedRequest) -> HttpResponse:
    """What one has sent to many devices, newest first."""
    own = CommandBatch.objects.filter(issued_by=request.user).defer("refused")
    page = Paginator(own, BATCHES_SHOWN).get_page(request.GET.get("page"))
    return render(request, "commands/batches.html", {"page": page})


@login_required
@require_safe
def batch_page(request: AuthenticatedRequest, batch_id: UUID) -> HttpResponse:
    """How far a batch is and what each device made of it, asked for again and again."""
    batch = _own(request.user, batch_id)
    now = timezone.now()
    visible = Device.objects.visible_to(request.user)
    commands = (
        batch.commands.filter(device__in=visible)
        .select_related("device")
        .order_by("device__name", "device_id")
    )
    page = Paginator(commands, RESULTS_PER_PAGE).get_page(request.GET.get("page"))
    refused = batch.refused[:RESULTS_PER_PAGE]
    names = dict(
        visible.filter(pk__in=[one["device_id"] for one in refused]).values_list("pk", "name")
    )
    context = {
        "batch": batch,
        "progress": batches.progress(batch, now=now),
        "page": page,
        "results": [command.as_of(now) for command in page],
        "refused": [{**one, "name": names.get(UUID(one["device_id"]))} for one in refused],
    }
    part = "commands/_batch.html" if is_htmx(request) else "commands/batch.html"
    return render(request, part, context)


@login_required
@require_POST
def batch_cancel(request: AuthenticatedRequest, batch_id: UUID) -> HttpResponse:
    """Take back every command of a batch that still waits."""
    batch = _own(request.user, batch_id)
    batches.cancel(batch, now=timezone.now())
    return redirect("command-batch", batch.pk)


def _own(user: User, batch_id: UUID) -> CommandBatch:
    return get_object_or_404(CommandBatch, pk=batch_id, issued_by=user)


def _command_types(user: User, wanted: FilterForm) -> list[Any]:
    """The catalogue of the type that was chosen; of several types there is none."""
    device_type = wanted.wanted().get("device_type")
    return catalogue.for_types([device_type])[device_type] if device_type else []


def _choice(user: User, wanted: FilterForm, ticked: QueryDict | None, now: datetime) -> Choice:
    visible = Device.objects.visible_to(user).with_presence(now).order_by("name", "pk")
    found = list(visible.having(now, **wanted.wanted())[: batches.DEVICES_LIMIT + 1])
    devices, more = found[: batches.DEVICES_LIMIT], len(found) > batches.DEVICES_LIMIT
    if ticked is None:
        return Choice(devices, {str(device.pk) for device in devices}, more)
    return Choice(devices, set(ticked.getlist("devices")), more)


def _page(
    request: AuthenticatedRequest,
    wanted: FilterForm,
    form: CommandForm,
    choice: Choice,
    status: int = 200,
) -> HttpResponse:
    types = Device.objects.visible_to(request.user).order_by("device_type")
    context = {
        "wanted": wanted,
        "form": form,
        "choice": choice,
        "types": types.values_list("device_type", flat=True).distinct(),
        "limit": batches.DEVICES_LIMIT,
    }
    return render(request, "commands/send_many.html", context, status=status)
