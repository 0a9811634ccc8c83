"""Setting up the second factor, and switching it off."""

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

SEED = "second_factor_seed"
"""In the session of somebody who is setting it up. It says nothing without the site's key."""


@login_required
@require_safe
def second_factor_page(request: AuthenticatedRequest) -> HttpResponse:
    """Whether it is on, since when, and what can be done about it."""
    factor = SecondFactor.objects.filter(user=request.user).first()
    if factor and requires_mfa(request):
        # Signed in before it was set up in another browser: now that is not enough.
        logout(request)
        return redirect("sign-in")
    context = {
        "factor": factor,
        "demanded": mfa.is_required_for(request.user),
        "left": mfa.unused_recovery_code_count(request.user),
    }
    return render(request, "accounts/second_factor.html", context)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def set_up(request: AuthenticatedRequest) -> HttpResponse:
    """Show a QR code, and switch it on with the first code that comes of it."""
    if mfa.is_enabled(request.user):
        return redirect("second-factor")
    seed = bytes.fromhex(request.session.setdefault(SEED, mfa.new_seed().hex()))
    form = MfaSetupForm(request.user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            _prove(request, form)
            code = form.cleaned_data["code"]
            codes = mfa.enable(request.user, seed=seed, code=code, now=timezone.now())
        except passwords.WrongPassword:
            form.add_error("password", _("This is not your password."))
        except mfa.InvalidCode:
            form.add_error("code", _("This is not the code that is shown now."))
        except mfa.AlreadyEnabled:
            return redirect("second-factor")
        else:
            del request.session[SEED]
            request.session[SECOND_FACTOR_PASSED] = True
            update_session_auth_hash(request, request.user)
            return render(request, "accounts/recovery_codes.html", {"codes": codes, "first": True})
    twin = mfa.build_totp(seed, request.user)
    context = {
        "form": form,
        "picture": segno.make(twin.provisioning_uri(), error="m").svg_data_uri(scale=5, border=3),
        "key": twin.secret,
    }
    status = 422 if form.is_bound else 200
    return render(request, "accounts/second_factor_set_up.html", context, status=status)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def recovery_codes(request: AuthenticatedRequest) -> HttpResponse:
    """Ask who it is, then show ten new codes in place of the old."""
    if not mfa.is_enabled(request.user):
        return redirect("second-factor")
    form = _asked(request)
    if not form.is_valid() or not _is_proven(request, form):
        return _ask(request, form, "recovery-codes")
    codes = mfa.new_recovery_codes(request.user)
    return render(request, "accounts/recovery_codes.html", {"codes": codes})


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def switch_off(request: AuthenticatedRequest) -> HttpResponse:
    """Ask who it is, then switch it off."""
    if not mfa.is_enabled(request.user):
        return redirect("second-factor")
    form = _asked(request)
    if not form.is_valid() or not _is_proven(request, form):
        return _ask(request, form, "switch-off")
    mfa.disable(request.user)
    request.session.pop(SECOND_FACTOR_PASSED, None)
    messages.success(request, _("The second factor is switched off."))
    return redirect("second-factor")


def _asked(request: AuthenticatedRequest) -> ReauthenticationForm:
    return ReauthenticationForm(request.user, request.POST if request.method == "POST" else None)


def _ask(request: AuthenticatedRequest, form: ReauthenticationForm, what: str) -> HttpResponse:
    context = {"form": form, "what": what}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/second_factor_proof.html", context, status=status)


def _is_proven(request: AuthenticatedRequest, form: ReauthenticationForm) -> bool:
    try:
        _prove(request, form)
    except passwords.WrongPassword:
        form.add_error("password", _("This is not your password."))
    except mfa.InvalidCode:
        form.add_error("code", _("This code is wrong, or it was used already."))
    except mfa.TooManyAttempts as error:
        form.add_error("code", TOO_MANY_CODES[error.limit])
    return form.is_valid()


def _prove(request: AuthenticatedRequest, form: ReauthenticationForm) -> None:
    """Make sure that it is the user who is signed in: by the password, where there is one, and by
    a code of the second factor, once it is on. Raises WrongPassword, WrongCode, TooManyCodes.
    """
    if "password" in form.cleaned_data:
        passwords.check_current_password(
            request.user, form.cleaned_data["password"], now=timezone.now()
        )
    if not isinstance(form, MfaSetupForm):
        mfa.verify_code(request.user, form.cleaned_data["code"], now=timezone.now())
