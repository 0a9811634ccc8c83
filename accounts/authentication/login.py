"""Sign-in after a correct password or link, with the MFA code in between.

Every sign-in in a browser goes through `login_or_ask_mfa`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import throttling
from accounts.audit import log as audit
from accounts.authentication.drf import SECOND_FACTOR_PASSED, lacks_code
from accounts.mfa import services as mfa
from accounts.mfa.forms import MfaCodeForm
from accounts.models import User
from accounts.sessions import services as sessions
from common import client_ip

SESSION_PENDING_LOGIN = "pending_sign_in"
"""Session key of a sign-in that waits for the code: user, expiry, target URL."""
PENDING_LOGIN_TTL = timedelta(minutes=10)
View = TypeVar("View", bound=Callable[..., HttpResponse])
TOO_MANY_CODES = {
    "second-factor": gettext_lazy("Too many wrong codes. Wait 15 minutes, or use a recovery code."),
    "second-factor-day": gettext_lazy(
        "Too many wrong codes. Wait until tomorrow, or use a recovery code."
    ),
    "recovery-code": gettext_lazy(
        "Too many wrong recovery codes. Wait 15 minutes, or use your authenticator app."
    ),
}
"""The message for each exhausted limit."""


def login_or_ask_mfa(
    request: HttpRequest, user: User, *, next_url: str, name: str = ""
) -> HttpResponse:
    """Sign in the authenticated user and redirect to `next_url`. With MFA, ask for the code first.

    `name` is the login name that was entered with the password.
    """
    if not mfa.is_enabled(user):
        _sign_in(request, user, name)
        return redirect(next_url)
    audit.record("second_factor.asked", target=user)
    request.session[SESSION_PENDING_LOGIN] = {
        "user": str(user.pk),
        # Invalid after a change of the password, like a session.
        "hash": user.get_session_auth_hash(),
        "until": (timezone.now() + PENDING_LOGIN_TTL).isoformat(),
        "to": next_url,
        "name": name,
    }
    return redirect("sign-in-code")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def mfa_challenge(request: HttpRequest) -> HttpResponse:
    """Ask for a code of the authenticator or a recovery code."""
    now = timezone.now()
    pending = request.session.get(SESSION_PENDING_LOGIN, {})
    user = _pending_user(pending, now)
    if user is None:
        request.session.pop(SESSION_PENDING_LOGIN, None)
        return redirect("sign-in")
    recovery = "recovery" in request.GET
    form = MfaCodeForm(request.POST if request.method == "POST" else None, recovery=recovery)
    if form.is_valid():
        try:
            mfa.verify_code(user, form.cleaned_data["code"], now=now)
        except mfa.InvalidCode:
            form.add_error("code", _("This code is wrong or has already been used."))
        except mfa.TooManyAttempts as error:
            form.add_error("code", TOO_MANY_CODES[error.limit])
        else:
            del request.session[SESSION_PENDING_LOGIN]
            _sign_in(request, user, pending.get("name", ""))
            request.session[SECOND_FACTOR_PASSED] = True
            return redirect(pending["to"])
    context = {"form": form, "recovery": recovery}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/sign_in_code.html", context, status=status)


def require_mfa_code(view: View) -> View:
    """Require a session with an MFA code, if the user has MFA. Other sessions must sign in again.

    For views that create tokens. Apply it below `login_required`.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return restart_login(request) if lacks_code(request) else view(request, *args, **kwargs)

    return cast(View, wrapper)


def restart_login(request: HttpRequest) -> HttpResponse:
    """End a session without an MFA code. After the new sign-in, redirect back to this page."""
    next_url = request.get_full_path()
    logout(request)
    return redirect_to_login(next_url)


def logout_and_record(request: HttpRequest) -> None:
    """Sign out the user, if any, and record it."""
    if isinstance(request.user, User):
        audit.record("sign_in.ended", target=request.user)
    logout(request)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out."""
    logout_and_record(request)
    return redirect("sign-in")


def _sign_in(request: HttpRequest, user: User, name: str) -> None:
    audit.record("sign_in.succeeded", target=user, actor=user)
    sessions.end_oldest_sessions(user)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    if name:
        throttling.refund_login(throttling.login_limits(name, client_ip.get_client_ip(request)))


def _pending_user(pending: dict[str, str], now: datetime) -> User | None:
    if not pending or now >= datetime.fromisoformat(pending["until"]):
        return None
    user = User.objects.active().filter(pk=UUID(pending["user"])).first()
    if user and constant_time_compare(pending["hash"], user.get_session_auth_hash()):
        return user
    return None
