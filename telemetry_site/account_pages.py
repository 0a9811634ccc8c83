"""What concerns all that belongs to a user: taking it along, and leaving."""

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

from accounts import archives, closing, passwords
from accounts.models import Archive
from accounts.request_pools import PASSWORDS, in_pool
from accounts.views import SignedInRequest
from devices.models import Device
from telemetry_site import archive, leaving


class ConfirmForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Your password"),
        strip=False,
        max_length=passwords.LONGEST_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def data(request: SignedInRequest) -> HttpResponse:
    """Have an archive of everything made, and fetch it."""
    now = timezone.now()
    too_soon: archives.TooManyArchives | None = None
    if request.method == "POST":
        try:
            archives.request(request.user, now=now)
        except archives.TooManyArchives as error:
            too_soon = error
        else:
            return redirect("own-data")
    found = archives.of(request.user, now=now)
    context: dict[str, Any] = {"archive": found, "too_soon": too_soon}
    if found and found.status == Archive.Status.READY:
        next_after = archives.next_after(found)
        context["next_after"] = next_after if next_after > now else None
    response = render(request, "account/data.html", context, status=429 if too_soon else 200)
    if too_soon:
        response["Retry-After"] = str(too_soon.retry_after)
    return response


@login_required
@require_safe
def archive_file(request: SignedInRequest) -> HttpResponseBase:
    """The archive itself: of whoever is signed in, and of nobody else."""
    try:
        return archive.answer(request.user, now=timezone.now())
    except Archive.DoesNotExist:
        raise Http404 from None


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: SignedInRequest) -> HttpResponse:
    """Delete the account with all that is in it, for the password."""
    form = ConfirmForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            leaving.leave(request.user, password=form.cleaned_data["password"], now=timezone.now())
        except passwords.WrongPassword:
            form.add_error("password", _("This is not your password."))
        except closing.LastAdministrator:
            form.add_error(None, _("Make somebody else an administrator first."))
        else:
            logout(request)
            return redirect("goodbye")
    status = 422 if form.is_bound else 200
    devices = Device.objects.visible_to(request.user).count()
    context = {"form": form, "devices": devices}
    return render(request, "account/delete.html", context, status=status)


@require_safe
def goodbye(request: SignedInRequest) -> HttpResponse:
    """What was deleted, and when the rest is."""
    return render(request, "account/goodbye.html")
