"""One's own account."""

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
from accounts.profile.forms import ChangeAddressForm, ProfileForm
from common import client_ip
from common.request_pools import PASSWORDS, in_pool


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: AuthenticatedRequest) -> HttpResponse:
    """Show the profile; change the name, the time zone, the language."""
    form = ProfileForm(request.POST if request.method == "POST" else None, user=request.user)
    # The header shows the name that holds, not one that was refused.
    name = request.user.username
    if form.is_valid():
        try:
            profile.update_profile(request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
            request.user.username = name
        else:
            messages.success(request, _("Saved."))
            return redirect("account")
    status = 422 if form.is_bound else 200
    return render(request, "accounts/account.html", {"form": form}, status=status)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def change_address(request: AuthenticatedRequest) -> HttpResponse:
    """Ask for a new address and the password, and mail a link there."""
    user, now = request.user, timezone.now()
    form = ChangeAddressForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            passwords.check_current_password(user, form.cleaned_data["password"], now=now)
            email = form.cleaned_data["email"]
            throttling.consume(
                throttling.mail_limits(email, client_ip.get_client_ip(request)), now=now
            )
            verification.request_email_change(user, email)
        except passwords.WrongPassword:
            form.add_error("password", _("This is not your password."))
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("account")
    status = 422 if form.is_bound else 200
    return render(request, "accounts/change_address.html", {"form": form}, status=status)


@login_required
@require_POST
def resend_link(request: AuthenticatedRequest) -> HttpResponse:
    """Mail the link to the address that the user still has to confirm once more."""
    try:
        verification.resend_own(
            request.user, address=client_ip.get_client_ip(request), now=timezone.now()
        )
    except verification.AlreadyVerified:
        messages.success(request, _("Your address is confirmed."))
    else:
        messages.success(request, _("The mail is on its way."))
    return redirect("account")


@login_required
@require_POST
def keep_address(request: AuthenticatedRequest) -> HttpResponse:
    """Change the address not, after all."""
    verification.cancel_change(request.user)
    return redirect("account")
