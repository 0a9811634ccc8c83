"""From the right password, or the right link, to being signed in: the second factor is between.

Every way in ends in `enter`; nothing else signs anybody in.
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
"""In the session of somebody who has shown the first factor: who, until when, where to."""
PENDING_LOGIN_TTL = timedelta(minutes=10)
View = TypeVar("View", bound=Callable[..., HttpResponse])
TOO_MANY_CODES = {
    "second-factor": gettext_lazy(
        "Too many wrong codes. Wait a quarter of an hour, or use a recovery code."
    ),
    "second-factor-day": gettext_lazy(
        "Too many wrong codes. Wait until tomorrow, or use a recovery code."
    ),
    "recovery-code": gettext_lazy(
        "Too many wrong recovery codes. Wait a quarter of an hour, or use your authenticator."
    ),
}
"""What is said when a limit is used up."""


def login_or_ask_mfa(request: HttpRequest, user: User, *, to: str, name: str = "") -> HttpResponse:
    """Sign in somebody who has shown that they are this user, and lead on; where they have a
    second factor, ask for it first. `name` is what they typed beside a password.
    """
    if not mfa.is_enabled(user):
        _sign_in(request, user, name)
        return redirect(to)
    audit.record("second_factor.asked", target=user)
    request.session[SESSION_PENDING_LOGIN] = {
        "user": str(user.pk),
        # Ends with the password, as a session does.
        "hash": user.get_session_auth_hash(),
        "until": (timezone.now() + PENDING_LOGIN_TTL).isoformat(),
        "to": to,
        "name": name,
    }
    return redirect("sign-in-code")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def mfa_challenge(request: HttpRequest) -> HttpResponse:
    """Ask for a code of the authenticator, or a recovery code."""
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
            form.add_error("code", _("This code is wrong, or it was used already."))
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


def code_shown(view: View) -> View:
    """Let only sessions into a view that have shown the second factor, where the user has one; the
    others sign in again. For views that make tokens. Below `login_required`.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return sign_in_anew(request) if lacks_code(request) else view(request, *args, **kwargs)

    return cast(View, guarded)


def sign_in_anew(request: HttpRequest) -> HttpResponse:
    """End a session that has not shown the second factor, and lead back once there is a new one."""
    to = request.get_full_path()
    logout(request)
    return redirect_to_login(to)


def logout_and_record(request: HttpRequest) -> None:
    """Sign out whoever is signed in."""
    if isinstance(request.user, User):
        audit.record("sign_in.ended", target=request.user)
    logout(request)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """The way out."""
    logout_and_record(request)
    return redirect("sign-in")


def _sign_in(request: HttpRequest, user: User, name: str) -> None:
    audit.record("sign_in.succeeded", target=user, by=user)
    sessions.make_room(user)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    if name:
        throttling.give_back_sign_in(
            throttling.login_limits(name, client_ip.get_client_ip(request))
        )


def _pending_user(pending: dict[str, str], now: datetime) -> User | None:
    if not pending or now >= datetime.fromisoformat(pending["until"]):
        return None
    user = User.objects.filter(pk=UUID(pending["user"]), is_active=True).first()
    if user and constant_time_compare(pending["hash"], user.get_session_auth_hash()):
        return user
    return None
