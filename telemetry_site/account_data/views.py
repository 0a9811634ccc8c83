"""Pages for the data export and the deletion of the user's account."""

from typing import Any

from django import forms
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import Archive
from accounts.passwords import services as passwords
from accounts.passwords import validators
from accounts.users import data_exports, deletion
from common.request_pools import PASSWORDS, in_pool
from devices.models import Device
from telemetry_site.account_data import deletion as account_deletion
from telemetry_site.account_data import export as data_export


class ConfirmForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Your password"),
        strip=False,
        max_length=validators.MAX_PASSWORD_LENGTH,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def data(request: AuthenticatedRequest) -> HttpResponse:
    """Request a data export and download it."""
    now = timezone.now()
    too_soon: data_exports.TooManyExports | None = None
    if request.method == "POST":
        try:
            data_exports.request_export(request.user, now=now)
        except data_exports.TooManyExports as error:
            too_soon = error
        else:
            return redirect("own-data")
    found = data_exports.get_for_user(request.user, now=now)
    context: dict[str, Any] = {"archive": found, "too_soon": too_soon}
    if found and found.status == Archive.Status.READY:
        next_after = data_exports.next_request_at(found)
        context["next_after"] = next_after if next_after > now else None
    response = render(request, "account/data.html", context, status=429 if too_soon else 200)
    if too_soon:
        response["Retry-After"] = str(too_soon.retry_after)
    return response


@login_required
@require_safe
def archive_file(request: AuthenticatedRequest) -> HttpResponseBase:
    """Download the data export of the user."""
    try:
        return data_export.download_response(request.user, now=timezone.now())
    except Archive.DoesNotExist:
        raise Http404 from None


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: AuthenticatedRequest) -> HttpResponse:
    """Delete the account with all its data, after a check of the password."""
    form = ConfirmForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            account_deletion.delete_account(
                request.user, password=form.cleaned_data["password"], now=timezone.now()
            )
        except passwords.WrongPassword:
            form.add_error("password", _("Wrong password."))
        except deletion.LastSuperuserError:
            form.add_error(None, _("Make another user an administrator first."))
        else:
            logout(request)
            return redirect("goodbye")
    status = 422 if form.is_bound else 200
    devices = Device.objects.visible_to(request.user).count()
    context = {"form": form, "devices": devices}
    return render(request, "account/delete.html", context, status=status)


@require_safe
def goodbye(request: AuthenticatedRequest) -> HttpResponse:
    """The page after the deletion: what is deleted now and what later."""
    return render(request, "account/goodbye.html")
