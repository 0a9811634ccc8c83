"""The account page of a user."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import throttling
from accounts.authentication.requests import AuthenticatedRequest
from accounts.email import verification
from accounts.passwords import services as passwords
from accounts.profile import services as profile
from accounts.profile.forms import ChangeEmailForm, ProfileForm
from common import client_ip
from common.request_pools import PASSWORDS, in_pool


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: AuthenticatedRequest) -> HttpResponse:
    """Show and change username, time zone and language."""
    form = ProfileForm(request.POST if request.method == "POST" else None, user=request.user)
    # The page header displays the current username, not a rejected one.
    username = request.user.username
    if form.is_valid():
        try:
            profile.update_profile(request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
            request.user.username = username
        else:
            messages.success(request, _("Saved."))
            return redirect("account")
    status = 422 if form.is_bound else 200
    return render(request, "accounts/account.html", {"form": form}, status=status)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def change_email(request: AuthenticatedRequest) -> HttpResponse:
    """Ask for a new e-mail address and the password; mail a verification link."""
    user, now = request.user, timezone.now()
    form = ChangeEmailForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            passwords.check_current_password(user, form.cleaned_data["password"], now=now)
            email = form.cleaned_data["email"]
            throttling.consume(
                throttling.mail_limits(email, client_ip.get_client_ip(request)), now=now
            )
            verification.request_email_change(user, email)
        except passwords.WrongPassword:
            form.add_error("password", _("Wrong password."))
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("account")
    status = 422 if form.is_bound else 200
    return render(request, "accounts/change_address.html", {"form": form}, status=status)


@login_required
@require_POST
def resend_link(request: AuthenticatedRequest) -> HttpResponse:
    """Mail the verification link of the unverified e-mail address again."""
    try:
        verification.resend_own_link(
            request.user, ip_address=client_ip.get_client_ip(request), now=timezone.now()
        )
    except verification.AlreadyVerified:
        messages.success(request, _("Your e-mail address is confirmed."))
    else:
        messages.success(request, _("The e-mail will be sent shortly."))
    return redirect("account")


@login_required
@require_POST
def cancel_email_change(request: AuthenticatedRequest) -> HttpResponse:
    """Cancel a pending change of the e-mail address."""
    verification.cancel_change(request.user)
    return redirect("account")
