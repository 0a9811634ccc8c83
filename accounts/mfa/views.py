"""Pages to set up and disable two-factor authentication."""

import segno
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication.drf import SECOND_FACTOR_PASSED, requires_mfa
from accounts.authentication.login import TOO_MANY_CODES
from accounts.authentication.requests import AuthenticatedRequest
from accounts.mfa import services as mfa
from accounts.mfa.forms import MfaSetupForm, ReauthenticationForm
from accounts.models import SecondFactor
from accounts.passwords import services as passwords
from common.request_pools import PASSWORDS, in_pool

SESSION_SEED = "second_factor_seed"
"""Session key of the seed during setup. The seed is useless without SECRET_KEY."""


@login_required
@require_safe
def second_factor_page(request: AuthenticatedRequest) -> HttpResponse:
    """Show the status of two-factor authentication, with the possible actions."""
    factor = SecondFactor.objects.filter(user=request.user).first()
    if factor and requires_mfa(request):
        # The session is older than the setup in another browser: sign in again with a code.
        logout(request)
        return redirect("sign-in")
    context = {
        "factor": factor,
        "required": mfa.is_required_for(request.user),
        "left": mfa.unused_recovery_code_count(request.user),
    }
    return render(request, "accounts/second_factor.html", context)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def set_up(request: AuthenticatedRequest) -> HttpResponse:
    """Show a QR code. Enable two-factor authentication after the first code."""
    if mfa.is_enabled(request.user):
        return redirect("second-factor")
    seed = bytes.fromhex(request.session.setdefault(SESSION_SEED, mfa.new_seed().hex()))
    form = MfaSetupForm(request.user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            _reauthenticate(request, form)
            code = form.cleaned_data["code"]
            codes = mfa.enable(request.user, seed=seed, code=code, now=timezone.now())
        except passwords.WrongPassword:
            form.add_error("password", _("Wrong password."))
        except mfa.InvalidCode:
            form.add_error("code", _("This code is wrong or has expired."))
        except mfa.AlreadyEnabled:
            return redirect("second-factor")
        else:
            del request.session[SESSION_SEED]
            request.session[SECOND_FACTOR_PASSED] = True
            update_session_auth_hash(request, request.user)
            return render(request, "accounts/recovery_codes.html", {"codes": codes, "first": True})
    totp = mfa.build_totp(seed, request.user)
    context = {
        "form": form,
        "picture": segno.make(totp.provisioning_uri(), error="m").svg_data_uri(scale=5, border=3),
        "key": totp.secret,
    }
    status = 422 if form.is_bound else 200
    return render(request, "accounts/second_factor_set_up.html", context, status=status)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def recovery_codes(request: AuthenticatedRequest) -> HttpResponse:
    """Ask for reauthentication, then replace the recovery codes and show them."""
    if not mfa.is_enabled(request.user):
        return redirect("second-factor")
    form = _reauthentication_form(request)
    if not form.is_valid() or not _is_reauthenticated(request, form):
        return _render_form(request, form, "recovery-codes")
    codes = mfa.new_recovery_codes(request.user)
    return render(request, "accounts/recovery_codes.html", {"codes": codes})


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def switch_off(request: AuthenticatedRequest) -> HttpResponse:
    """Ask for reauthentication, then disable two-factor authentication."""
    if not mfa.is_enabled(request.user):
        return redirect("second-factor")
    form = _reauthentication_form(request)
    if not form.is_valid() or not _is_reauthenticated(request, form):
        return _render_form(request, form, "switch-off")
    mfa.disable(request.user)
    request.session.pop(SECOND_FACTOR_PASSED, None)
    messages.success(request, _("Two-factor authentication is off."))
    return redirect("second-factor")


def _reauthentication_form(request: AuthenticatedRequest) -> ReauthenticationForm:
    return ReauthenticationForm(request.user, request.POST if request.method == "POST" else None)


def _render_form(
    request: AuthenticatedRequest, form: ReauthenticationForm, action: str
) -> HttpResponse:
    context = {"form": form, "action": action}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/second_factor_proof.html", context, status=status)


def _is_reauthenticated(request: AuthenticatedRequest, form: ReauthenticationForm) -> bool:
    try:
        _reauthenticate(request, form)
    except passwords.WrongPassword:
        form.add_error("password", _("Wrong password."))
    except mfa.InvalidCode:
        form.add_error("code", _("This code is wrong or has already been used."))
    except mfa.TooManyAttempts as error:
        form.add_error("code", TOO_MANY_CODES[error.limit])
    return form.is_valid()


def _reauthenticate(request: AuthenticatedRequest, form: ReauthenticationForm) -> None:
    """Check the password, if the user has one, and the code, except during setup.

    Raises WrongPassword, InvalidCode, TooManyAttempts.
    """
    if "password" in form.cleaned_data:
        passwords.check_current_password(
            request.user, form.cleaned_data["password"], now=timezone.now()
        )
    if not isinstance(form, MfaSetupForm):
        mfa.verify_code(request.user, form.cleaned_data["code"], now=timezone.now())
