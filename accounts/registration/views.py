"""Joining, proving an address, and getting back in, as a browser sees it.

A link that was mailed shows a button, for what only looks at mail must use nothing up; its secret
is taken out of the URL at once (kept_links).
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts import throttling
from accounts.email import stored_links
from accounts.models import Token, User
from accounts.passwords import forms as password_forms
from accounts.passwords import services as passwords
from accounts.registration import forms as registration_forms
from accounts.registration import services as registrations
from accounts.tokens import services as tokens
from common import client_ip
from common.request_pools import PASSWORDS, in_pool

SESSION_LAST_MAIL = "mailed"
"""In the session: what was mailed last, and when, for the page that tells to look for it."""
RESEND_COOLDOWN = timedelta(seconds=60)
"""Between a mail and the next one that somebody may ask for here."""
page_methods = require_http_methods(["GET", "HEAD", "POST"])


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def sign_up(request: HttpRequest) -> HttpResponse:
    """Ask for a name, an address and a password, and mail a link."""
    if settings.REGISTRATION_MODE != "open":
        return _closed(request)
    form = registration_forms.SignUpForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        given, now = form.cleaned_data, timezone.now()
        address = client_ip.get_client_ip(request)
        throttling.consume(throttling.registration_limits(given["email"], address), now=now)
        try:
            registrations.register(given["username"], given["email"], given["password"], now=now)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return _redirect_to_check_inbox(request, "registration", given["email"], now)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/sign_up.html", {"form": form}, status=status)


@page_methods
def request_password_reset(request: HttpRequest) -> HttpResponse:
    """Ask for an address, and mail a link to choose another password."""
    return _email_form_view(
        request,
        "password-reset",
        title=_("Forgot your password?"),
        words=_("We mail you a link to choose another one."),
    )


@page_methods
def resend_verification(request: HttpRequest) -> HttpResponse:
    """Ask for an address that is not proven yet, and mail its link again."""
    return _email_form_view(
        request,
        "verification",
        title=_("Confirm your address"),
        words=_("We mail the link to confirm your address again."),
    )


@page_methods
def check_inbox(request: HttpRequest) -> HttpResponse:
    """Tell to look for the mail; send another one, a while after the last."""
    mailed = request.session.get(SESSION_LAST_MAIL)
    if mailed is None:
        return redirect("sign-in")
    now = timezone.now()
    left = datetime.fromisoformat(mailed["at"]) + RESEND_COOLDOWN - now
    wait = max(0, round(left.total_seconds()))
    if request.method == "POST" and not wait:
        return _mail(request, mailed["kind"], mailed["email"], now)
    status = 429 if request.method == "POST" else 200
    context = {
        "email": mailed["email"],
        "reset": mailed["kind"] == "password-reset",
        "wait": wait,
        "at_once": settings.ALLOW_UNVERIFIED_LOGIN and mailed["kind"] == "registration",
        "console": not settings.EMAIL_CONFIGURED,
    }
    return render(request, "accounts/check_inbox.html", context, status=status)


@require_safe
def verification_link(request: HttpRequest, secret: str) -> HttpResponse:
    return _store_link_token(request, "verify-email", secret)


@require_safe
def invitation_link(request: HttpRequest, secret: str) -> HttpResponse:
    return _store_link_token(request, "join", secret)


@require_safe
def password_reset_link(request: HttpRequest, secret: str) -> HttpResponse:
    return _store_link_token(request, "new-password", secret)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def verify_email(request: HttpRequest) -> HttpResponse:
    """Ask for the password of the account, and the address is proven; just for a button where
    this browser is signed in to it.
    """
    secret, now = stored_links.kept(request, "verify-email"), timezone.now()
    by = request.user if isinstance(request.user, User) else None
    given = request.POST if request.method == "POST" else None
    asks_name = "username" in request.POST
    try:
        waiting = registrations.waiting(secret, by=by, now=now)
        asked = {"asks_password": waiting.asks_password}
        form = registration_forms.ConfirmForm(given, asks_name=asks_name, **asked)
        if form.is_valid():
            user = registrations.verify_email_or_complete(
                secret, **form.cleaned_data, by=by, now=now
            )
            return _finish(request, "verify-email", user)
    except tokens.InvalidToken:
        return _link_invalid(request, "verify-email")
    except registrations.RegistrationClosed:
        return _closed(request)
    except ValidationError as error:
        if "username" in error.error_dict:
            asks_name, values = True, {"username": waiting.name, **request.POST.dict()}
            form = registration_forms.ConfirmForm(values, asks_name=True, **asked)
            form.is_valid()
        form.add_error(None, error)
    context = {"waiting": waiting, "form": form, "taken": asks_name}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/verify_email.html", context, status=status)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def accept_invitation(request: HttpRequest) -> HttpResponse:
    """Ask who was invited for a name and a password."""
    secret, now = stored_links.kept(request, "join"), timezone.now()
    form = registration_forms.JoinForm(request.POST if request.method == "POST" else None)
    try:
        invitation = registrations.get_open_registration(secret, now=now)
        if form.is_valid():
            user = registrations.accept_invitation(secret, **form.cleaned_data, now=now)
            return _finish(request, "join", user)
    except tokens.InvalidToken:
        return _link_invalid(request, "join")
    except registrations.RegistrationClosed:
        return _closed(request)
    except ValidationError as error:
        form.add_error(None, error)
    context = {"form": form, "email": invitation.email, "inviter": invitation.invited_by}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/join.html", context, status=status)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def new_password(request: HttpRequest) -> HttpResponse:
    """Ask who has forgotten their password for another one."""
    secret, now = stored_links.kept(request, "new-password"), timezone.now()
    form = password_forms.NewPasswordForm(request.POST if request.method == "POST" else None)
    try:
        user = tokens.get_active(secret, scope=Token.Scope.PASSWORD_RESET, now=now).user
        if form.is_valid():
            passwords.reset_with_token(secret, form.cleaned_data["password"], now=now)
            messages.success(request, _("Your password is set. Sign in with it."))
            stored_links.forget(request, "new-password")
            return redirect("sign-in")
    except tokens.InvalidToken:
        return _link_invalid(request, "new-password")
    except ValidationError as error:
        form.add_error(None, error)
    context = {"form": form, "name": user.username}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/new_password.html", context, status=status)


def _email_form_view(request: HttpRequest, kind: str, **said: str) -> HttpResponse:
    known = request.user.email if isinstance(request.user, User) else ""
    given = request.POST if request.method == "POST" else None
    form = registration_forms.AddressForm(given, initial={"email": known})
    if form.is_valid():
        return _mail(request, kind, form.cleaned_data["email"], timezone.now())
    context = {"form": form, **said}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/ask_for_link.html", context, status=status)


def _mail(request: HttpRequest, kind: str, email: str, now: datetime) -> HttpResponse:
    """Send what somebody may ask for who is not signed in, known or not."""
    throttling.consume(throttling.mail_limits(email, client_ip.get_client_ip(request)), now=now)
    if kind == "password-reset":
        passwords.request_reset(email)
    else:
        registrations.resend_links(email)
    return _redirect_to_check_inbox(request, kind, email, now)


def _redirect_to_check_inbox(
    request: HttpRequest, kind: str, email: str, now: datetime
) -> HttpResponse:
    request.session[SESSION_LAST_MAIL] = {"kind": kind, "email": email, "at": now.isoformat()}
    return redirect("check-inbox")


def _store_link_token(request: HttpRequest, name: str, secret: str) -> HttpResponse:
    """Take the secret of a link out of the URL, where history and logs would keep it."""
    now = timezone.now()
    try:
        if name == "new-password":
            tokens.get_active(secret, scope=Token.Scope.PASSWORD_RESET, now=now)
        else:
            registrations.waiting(secret, by=None, now=now)
    except tokens.InvalidToken:
        # Nobody fills the table of sessions with made-up links.
        stored_links.forget(request, name)
    else:
        stored_links.keep(request, name, secret)
    return redirect(name)


def _finish(request: HttpRequest, name: str, user: User) -> HttpResponse:
    stored_links.forget(request, name)
    request.session.pop(SESSION_LAST_MAIL, None)
    if request.user.is_authenticated:
        messages.success(request, _("Your address is confirmed."))
        return redirect("account")
    message = _("Your address is confirmed. Sign in as %(name)s.")
    messages.success(request, message % {"name": user.username})
    return redirect("sign-in")


def _closed(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/sign_up_closed.html", status=403)


def _link_invalid(request: HttpRequest, name: str) -> HttpResponse:
    stored_links.forget(request, name)
    return render(request, "accounts/link_refused.html", {"kind": name}, status=410)
