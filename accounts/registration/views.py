"""Pages of sign-up, e-mail verification, password reset and invitations.

Mailed links need a button press, so that mail scanners that prefetch URLs do not consume the token.
The token moves from the URL to the session (accounts.email.stored_links).
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
from accounts.registration import invitations, pending
from accounts.registration import services as registrations
from accounts.tokens import services as tokens
from common import client_ip
from common.request_pools import PASSWORDS, in_pool

SESSION_LAST_MAIL = "mailed"
"""Session key: type, e-mail address and time of the last mail, for the check-inbox page."""
RESEND_COOLDOWN = timedelta(seconds=60)
"""Minimum time between two mails that a client requests on the check-inbox page."""
page_methods = require_http_methods(["GET", "HEAD", "POST"])


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def sign_up(request: HttpRequest) -> HttpResponse:
    """Show and process the sign-up form; mail a link."""
    if settings.REGISTRATION_MODE != "open":
        return _closed(request)
    form = registration_forms.SignUpForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        data, now = form.cleaned_data, timezone.now()
        ip_address = client_ip.get_client_ip(request)
        throttling.consume(throttling.registration_limits(data["email"], ip_address), now=now)
        try:
            registrations.register(data["username"], data["email"], data["password"], now=now)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return _redirect_to_check_inbox(request, "registration", data["email"], now)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/sign_up.html", {"form": form}, status=status)


@page_methods
def request_password_reset(request: HttpRequest) -> HttpResponse:
    """Ask for an e-mail address; mail a link to set a new password."""
    return _email_form_view(
        request,
        "password-reset",
        title=_("Forgot your password?"),
        text=_("We'll e-mail you a link to set a new one."),
    )


@page_methods
def resend_verification(request: HttpRequest) -> HttpResponse:
    """Ask for an unverified e-mail address; mail its link again."""
    return _email_form_view(
        request,
        "verification",
        title=_("Confirm your e-mail address"),
        text=_("We'll send the confirmation link again."),
    )


@page_methods
def check_inbox(request: HttpRequest) -> HttpResponse:
    """Ask the user to check their inbox. Resend the mail on request, after RESEND_COOLDOWN."""
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
        "can_sign_in": settings.ALLOW_UNVERIFIED_LOGIN and mailed["kind"] == "registration",
        "email_disabled": not settings.EMAIL_CONFIGURED,
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
    """Verify an e-mail address: ask for the password, or for a button press if signed in."""
    digest, now = stored_links.get_digest(request, "verify-email"), timezone.now()
    actor = request.user if isinstance(request.user, User) else None
    data = stored_links.get_form_data(request, "verify-email")
    with_username = "username" in (data or {})
    try:
        found = registrations.find_pending(digest, actor=actor, now=now)
        options = {"with_password": found.requires_password}
        form = registration_forms.ConfirmForm(data, with_username=with_username, **options)
        if form.is_valid():
            user = registrations.verify_email_or_complete(
                digest, **form.cleaned_data, actor=actor, now=now
            )
            return _finish(request, "verify-email", user)
    except tokens.InvalidToken:
        return _link_invalid(request, "verify-email")
    except pending.RegistrationClosed:
        return _closed(request)
    except ValidationError as error:
        if "username" in error.error_dict:
            with_username, values = True, {"username": found.username, **request.POST.dict()}
            form = registration_forms.ConfirmForm(values, with_username=True, **options)
            form.is_valid()
        form.add_error(None, error)
    context = {"pending": found, "username_taken": with_username}
    return stored_links.render_form(
        request, "verify-email", "accounts/verify_email.html", context, form
    )


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def accept_invitation(request: HttpRequest) -> HttpResponse:
    """Ask an invited user for a username and a password."""
    digest, now = stored_links.get_digest(request, "join"), timezone.now()
    form = registration_forms.AcceptInvitationForm(stored_links.get_form_data(request, "join"))
    try:
        invitation = pending.get_open_registration(digest, now=now)
        if form.is_valid():
            user = invitations.accept_invitation(digest, **form.cleaned_data, now=now)
            return _finish(request, "join", user)
    except tokens.InvalidToken:
        return _link_invalid(request, "join")
    except pending.RegistrationClosed:
        return _closed(request)
    except ValidationError as error:
        form.add_error(None, error)
    context = {"email": invitation.email, "inviter": invitation.invited_by}
    return stored_links.render_form(request, "join", "accounts/join.html", context, form)


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@page_methods
def new_password(request: HttpRequest) -> HttpResponse:
    """Ask for the new password after a reset link."""
    digest, now = stored_links.get_digest(request, "new-password"), timezone.now()
    form = password_forms.NewPasswordForm(stored_links.get_form_data(request, "new-password"))
    try:
        user = tokens.get_active(digest, scope=Token.Scope.PASSWORD_RESET, now=now).user
        if form.is_valid():
            passwords.reset_with_token(digest, form.cleaned_data["password"], now=now)
            messages.success(request, _("Your password is set. Sign in with the new password."))
            stored_links.clear(request, "new-password")
            return redirect("sign-in")
    except tokens.InvalidToken:
        return _link_invalid(request, "new-password")
    except ValidationError as error:
        form.add_error(None, error)
    context = {"name": user.username}
    return stored_links.render_form(
        request, "new-password", "accounts/new_password.html", context, form
    )


def _email_form_view(request: HttpRequest, kind: str, **texts: str) -> HttpResponse:
    own_email = request.user.email if isinstance(request.user, User) else ""
    data = request.POST if request.method == "POST" else None
    form = registration_forms.EmailForm(data, initial={"email": own_email})
    if form.is_valid():
        return _mail(request, kind, form.cleaned_data["email"], timezone.now())
    context = {"form": form, **texts}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/ask_for_link.html", context, status=status)


def _mail(request: HttpRequest, kind: str, email: str, now: datetime) -> HttpResponse:
    """Send a mail that clients may request without signing in. The e-mail may be unknown."""
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
    """Store the token of a link and redirect, so that it stays out of history and logs."""
    now = timezone.now()
    try:
        if name == "new-password":
            tokens.get_active(secret, scope=Token.Scope.PASSWORD_RESET, now=now)
        else:
            registrations.find_pending(secret, actor=None, now=now)
    except tokens.InvalidToken:
        # Do not create sessions for invalid links: clients could fill the table.
        stored_links.clear(request, name)
    else:
        stored_links.store(request, name, secret)
    return redirect(name)


def _finish(request: HttpRequest, name: str, user: User) -> HttpResponse:
    stored_links.clear(request, name)
    request.session.pop(SESSION_LAST_MAIL, None)
    if request.user.is_authenticated:
        messages.success(request, _("Your e-mail address is confirmed."))
        return redirect("account")
    message = _("Your e-mail address is confirmed. Sign in as %(name)s.")
    messages.success(request, message % {"name": user.username})
    return redirect("sign-in")


def _closed(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/sign_up_closed.html", status=403)


def _link_invalid(request: HttpRequest, name: str) -> HttpResponse:
    stored_links.clear(request, name)
    return render(request, "accounts/link_refused.html", {"kind": name}, status=410)
