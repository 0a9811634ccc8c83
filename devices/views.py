"""Pages to add, connect, change and delete a device."""

from typing import Any
from uuid import UUID

from django.conf import settings as site_settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.authentication.drf import lacks_code
from accounts.authentication.login import require_mfa_code, restart_login
from accounts.authentication.requests import AuthenticatedRequest
from common.strict_json import InvalidJSONValue
from devices import services as device_services
from devices import snippets
from devices.forms import ConfirmDeletionForm, DeviceForm
from devices.models import Device


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@require_mfa_code
def new(request: AuthenticatedRequest) -> HttpResponse:
    """Add a device and show its token once.

    Only this response contains the token. A redirect to a page that shows it would have to store
    the token in the URL or in a session, and so in the database.
    """
    form = DeviceForm(request.POST if request.method == "POST" else None)
    form.fields["name"].widget.attrs["autofocus"] = True
    if form.is_valid():
        try:
            device, secret = device_services.create_device(request.user, **form.cleaned_data)
        except InvalidJSONValue as error:
            form.add_faults(error)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return _connect(request, device, token=secret.text, added=True)
    status = 422 if form.is_bound else 200
    return render(request, "devices/new.html", {"form": form}, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Show example programs. A POST issues a new token, which is shown once."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    if request.method != "POST":
        return _connect(request, device)
    if lacks_code(request):
        return restart_login(request)
    try:
        _token, secret = device_services.issue_token(device, label="connect")
    except Device.DoesNotExist:
        raise Http404 from None
    except device_services.TooManyTokens:
        limit = site_settings.TOKENS_PER_DEVICE
        fault = _("This device already has {number} tokens, the maximum.").format(number=limit)
        return _connect(request, device, fault=fault)
    return _connect(request, device, token=secret.text)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Change the fields of a device."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    form = DeviceForm.for_device(device, request.POST if request.method == "POST" else None)
    name = device.name
    if form.is_valid():
        try:
            device_services.update_device(device, **form.cleaned_data)
        except InvalidJSONValue as error:
            form.add_faults(error)
        except ValidationError as error:
            form.add_error(None, error)
        except Device.DoesNotExist:
            raise Http404 from None
        else:
            messages.success(request, _("Saved."))
            return redirect("device", device.pk)
    device.name = name
    return _settings(request, device, form=form)


@login_required
@require_POST
def delete(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Delete a device if the form contains its name."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    form = ConfirmDeletionForm(device, request.POST)
    if not form.is_valid():
        return _settings(request, device, deletion=form)
    if not device_services.soft_delete(device, now=timezone.now()):
        raise Http404
    messages.success(request, _("{name} has been deleted.").format(name=device.name))
    return redirect("home")


def _connect(request: AuthenticatedRequest, device: Device, **extra: Any) -> HttpResponse:
    token = extra.get("token")
    context = {
        "device": device,
        "snippets": snippets.render_snippets(device, token)
        if token
        else snippets.render_snippets(device),
        "qr": snippets.token_qr_svg(token) if token else "",
        **extra,
    }
    return render(request, "devices/connect.html", context, status=422 if "fault" in extra else 200)


def _settings(request: AuthenticatedRequest, device: Device, **forms: Any) -> HttpResponse:
    bound = any(form.is_bound for form in forms.values())
    context = {
        "device": device,
        "form": DeviceForm.for_device(device),
        "deletion": ConfirmDeletionForm(device),
        **forms,
    }
    return render(request, "devices/settings.html", context, status=422 if bound else 200)
