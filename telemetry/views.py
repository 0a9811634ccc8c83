"""Pages for the names and units of a device's values."""

from itertools import groupby
from operator import attrgetter
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication.requests import AuthenticatedRequest
from devices.models import Device
from telemetry.forms import KeyForm
from telemetry.ingest import validation
from telemetry.keys import registry as keys
from telemetry.models import Key
from telemetry.queries import history


@login_required
@require_safe
def keys_page(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """List every key of a device with its newest value."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    newest = {
        (reading.telemetry_type, path): value
        for reading in history.latest_readings([device])[device.pk]
        for path, value in validation.iter_values(reading.payload)
    }
    groups = [
        (
            telemetry_type,
            [
                {
                    "key": key,
                    "shown": keys.display_format(key),
                    "value": newest.get((telemetry_type, key.key)),
                }
                for key in group
            ],
        )
        for telemetry_type, group in groupby(
            keys.list_for_device(device), attrgetter("telemetry_type")
        )
    ]
    return render(request, "telemetry/keys.html", {"device": device, "groups": groups})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def key_page(request: AuthenticatedRequest, device_id: UUID, key: str) -> HttpResponse:
    """Edit the label, unit and decimals of one key."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    try:
        stored_key = keys.get(device, key)
        form = KeyForm(stored_key, request.POST if request.method == "POST" else None)
        if form.is_valid():
            keys.update_key(stored_key, **form.cleaned_data)
            messages.success(request, _("Saved %(name)s.") % {"name": stored_key})
            return redirect(reverse("device-keys", args=[device.pk]) + f"#{stored_key}")
    except Key.DoesNotExist:
        raise Http404 from None
    except ValidationError as error:
        form.add_error(None, error)
    status = 422 if form.is_bound else 200
    context = {"device": device, "key": stored_key, "form": form}
    return render(request, "telemetry/key.html", context, status=status)
