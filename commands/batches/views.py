"""Pages to send a command to several devices, and to watch and cancel batches."""

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
from commands.views import confirmation_context, is_htmx
from devices.models import Device

BATCHES_PER_PAGE = 50
RESULTS_PER_PAGE = 100


class Selection(NamedTuple):
    """The displayed devices, the ids of the selected ones, and whether more devices match."""

    devices: list[Device]
    selected: set[str]
    more: bool


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def send_many(request: AuthenticatedRequest) -> HttpResponse:
    """Filter and select devices, fill in the command, confirm. The batch page has the results."""
    now = timezone.now()
    filter_form = FilterForm(request.GET)
    command_types = _command_types(request.user, filter_form)
    if request.method != "POST":
        form = CommandForm(command_types, command_name=request.GET.get("command", ""))
        return _page(request, filter_form, form, _selection(request.user, filter_form, None, now))
    form = CommandForm(command_types, request.POST)
    selection = _selection(request.user, filter_form, request.POST, now)
    selected = [device for device in selection.devices if str(device.pk) in selection.selected]
    if form.is_valid() and not selected:
        form.add_error(None, _("Select at least one device."))
    if form.is_valid() and "confirmed" not in request.POST:
        target = _("%(count)s devices") % {"count": len(selected)}
        confirmation = confirmation_context(request, form, target)
        context = {"confirmation": confirmation, "form": form}
        return render(request, "commands/confirm_many.html", context)
    batch = form.send_to_many(selected, issued_by=request.user) if form.is_valid() else None
    if not batch:
        return _page(request, filter_form, form, selection, status=422)
    return redirect("command-batch", batch.pk)


@login_required
@require_safe
def batch_list(request: AuthenticatedRequest) -> HttpResponse:
    """List the batches of the user, newest first."""
    own = CommandBatch.objects.filter(issued_by=request.user).defer("refused")
    page = Paginator(own, BATCHES_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "commands/batches.html", {"page": page})


@login_required
@require_safe
def batch_page(request: AuthenticatedRequest, batch_id: UUID) -> HttpResponse:
    """Show the progress of a batch and the result of each device. The page polls this."""
    batch = _get_own_batch(request.user, batch_id)
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
        visible.filter(pk__in=[rejection["device_id"] for rejection in refused]).values_list(
            "pk", "name"
        )
    )
    context = {
        "batch": batch,
        "progress": batches.progress(batch, now=now),
        "page": page,
        "results": [command.as_of(now) for command in page],
        "refused": [
            {**rejection, "name": names.get(UUID(rejection["device_id"]))} for rejection in refused
        ],
    }
    part = "commands/_batch.html" if is_htmx(request) else "commands/batch.html"
    return render(request, part, context)


@login_required
@require_POST
def batch_cancel(request: AuthenticatedRequest, batch_id: UUID) -> HttpResponse:
    """Cancel all pending commands of a batch."""
    batch = _get_own_batch(request.user, batch_id)
    batches.cancel(batch, now=timezone.now())
    return redirect("command-batch", batch.pk)


def _get_own_batch(user: User, batch_id: UUID) -> CommandBatch:
    return get_object_or_404(CommandBatch, pk=batch_id, issued_by=user)


def _command_types(user: User, filter_form: FilterForm) -> list[Any]:
    """Return the command types of the chosen device type; none if no type is chosen."""
    device_type = filter_form.filter_kwargs().get("device_type")
    return catalogue.for_types([device_type])[device_type] if device_type else []


def _selection(
    user: User, filter_form: FilterForm, selected: QueryDict | None, now: datetime
) -> Selection:
    visible = Device.objects.visible_to(user).with_presence(now).order_by("name", "pk")
    found = list(visible.filter_by(now, **filter_form.filter_kwargs())[: batches.DEVICES_LIMIT + 1])
    devices, more = found[: batches.DEVICES_LIMIT], len(found) > batches.DEVICES_LIMIT
    if selected is None:
        return Selection(devices, {str(device.pk) for device in devices}, more)
    return Selection(devices, set(selected.getlist("devices")), more)


def _page(
    request: AuthenticatedRequest,
    filter_form: FilterForm,
    form: CommandForm,
    selection: Selection,
    status: int = 200,
) -> HttpResponse:
    types = Device.objects.visible_to(request.user).order_by("device_type")
    context = {
        "filter_form": filter_form,
        "form": form,
        "selection": selection,
        "types": types.values_list("device_type", flat=True).distinct(),
        "limit": batches.DEVICES_LIMIT,
    }
    return render(request, "commands/send_many.html", context, status=status)
