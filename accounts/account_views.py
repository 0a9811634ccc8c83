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

from accounts import addresses, emails, passwords, profiles, throttles
from accounts.account_forms import ChangeAddressForm, ProfileForm
from accounts.request_pools import PASSWORDS, in_pool
from accounts.views import SignedInRequest


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: SignedInRequest) -> HttpResponse:
    """Show the profile; change the name, the time zone, the language."""
    form = ProfileForm(request.POST if request.method == "POST" else None, user=request.user)
    # The header shows the name that holds, not one that was refused.
    name = request.user.username
    if form.is_valid():
        try:
            profiles.change(request.user, **form.cleaned_data)
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
def change_address(request: SignedInRequest) -> HttpResponse:
    """Ask for a new address and the password, and mail a link there."""
    user, now = request.user, timezone.now()
    form = ChangeAddressForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            passwords.confirm(user, form.cleaned_data["password"], now=now)
            email = form.cleaned_data["email"]
            throttles.take(throttles.of_mail(email, addresses.of(request)), now=now)
            emails.request_change(user, email)
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
def resend_link(request: SignedInRequest) -> HttpResponse:
    """Mail the link to the address that the user still has to confirm once more."""
    try:
        emails.resend_own(request.user, address=addresses.of(request), now=timezone.now())
    except emails.NothingToProve:
        messages.success(request, _("Your address is confirmed."))
    else:
        messages.success(request, _("The mail is on its way."))
    return redirect("account")


@login_required
@require_POST
def keep_address(request: SignedInRequest) -> HttpResponse:
    """Change the address not, after all."""
    emails.cancel_change(request.user)
    return redirect("account")
