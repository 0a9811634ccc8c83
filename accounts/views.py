"""Signing in and out, the password, and what happened to the account."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import kept_links, passwords, tokens
from accounts.actions import SUBJECTS
from accounts.forms import OwnPasswordForm, SignInForm
from accounts.models import AuditEvent, User
from accounts.request_pools import PASSWORDS, in_pool
from accounts.signing_in import enter

LINK_SECRET = "sign_in_link"  # noqa: S105 - a key of the session
NO_PASSWORD_NOTICE_READ = "no_password_notice_read"  # noqa: S105 - a key of the session

EVENTS_SHOWN = 50
SUBJECTS_OF_USERS = [
    "sign_in",
    "session",
    "second_factor",
    "password",
    "address",
    "token",
    "device",
    "command",
    "user",
    "retention",
]


class SignedInRequest(HttpRequest):
    """A request that `login_required` has let in."""

    user: User


class SignInView(LoginView):
    """Django's, up to the right password."""

    def form_valid(self, form: Any) -> HttpResponse:
        name = form.cleaned_data["username"]
        return enter(self.request, form.get_user(), to=self.get_success_url(), name=name)


@in_pool(PASSWORDS)
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Ask for name and password."""
    if "HX-Request" in request.headers:
        # The session ended while a page refreshed a part of itself: the whole page goes.
        shown = request.headers.get("HX-Current-URL", "").partition("://")[2].partition("/")[2]
        query = urlencode({"next": f"/{shown}"})
        return HttpResponse(status=204, headers={"HX-Redirect": f"{reverse('sign-in')}?{query}"})
    door = SignInView.as_view(
        template_name="accounts/sign_in.html",
        authentication_form=SignInForm,
        redirect_authenticated_user=True,
        extra_context={
            "may_sign_up": settings.REGISTRATION == "open",
            "must_verify": not settings.UNVERIFIED_MAY_SIGN_IN,
        },
    )
    return door(request)


@require_safe
def open_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Take the secret of a one-time link out of the URL, where history and logs would keep it."""
    try:
        tokens.find(secret, scope=tokens.Scope.SIGN_IN, now=timezone.now())
    except tokens.TokenRefused:
        # Nobody fills the table of sessions with made-up links.
        kept_links.forget(request, LINK_SECRET)
    else:
        kept_links.keep(request, LINK_SECRET, secret)
    return redirect("sign-in-by-link")


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_by_link(request: HttpRequest) -> HttpResponse:
    """A button, and signing in when it is pressed: what only looks at a link uses nothing up."""
    secret = kept_links.kept(request, LINK_SECRET)
    now = timezone.now()
    try:
        if request.method != "POST":
            user = tokens.find(secret, scope=tokens.Scope.SIGN_IN, now=now).user
            return render(request, "accounts/sign_in_link.html", {"name": user.username})
        user = tokens.redeem(secret, scope=tokens.Scope.SIGN_IN, now=now)
    except tokens.TokenRefused:
        if not secret and request.user.is_authenticated:
            # The button was pressed twice, and the first time did it.
            return redirect("home")
        kept_links.forget(request, LINK_SECRET)
        return render(request, "accounts/sign_in_link_refused.html", status=410)
    kept_links.forget(request, LINK_SECRET)
    return enter(request, user, to=reverse("home"))


@in_pool(PASSWORDS)
def sign_in_to_admin(request: HttpRequest) -> HttpResponse:
    """The admin has no door of its own, which would know nothing of a second factor."""
    if request.user.is_authenticated:
        # Signed in, and no member of staff: asking again would lead here again.
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next", reverse("admin:index")))


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def set_password(request: SignedInRequest) -> HttpResponse:
    """Choose a password: a first one, or another one for the one that is known."""
    kind = OwnPasswordForm if request.user.has_usable_password() else SetPasswordForm
    form = kind(request.user, request.POST if request.method == "POST" else None)
    if not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "accounts/password.html", {"form": form}, status=status)
    passwords.change(request.user, form.cleaned_data["new_password1"])
    update_session_auth_hash(request, request.user)
    messages.success(request, _("Your password is set. Everywhere else you have been signed out."))
    return redirect("home")


@login_required
@require_POST
def dismiss_password_notice(request: SignedInRequest) -> HttpResponse:
    """Do not remind of the missing password again in this session."""
    request.session[NO_PASSWORD_NOTICE_READ] = True
    return redirect("home")


@login_required
@require_safe
def activity(request: SignedInRequest) -> HttpResponse:
    """The user's own audit trail, page by page."""
    subject = request.GET.get("about", "")
    subject = subject if subject in SUBJECTS_OF_USERS else ""
    events = AuditEvent.objects.of(request.user)
    events = events.about(subject) if subject else events
    if place := _place(request.GET.get("before", "")):
        events = events.before(*place)
    found = list(events[: EVENTS_SHOWN + 1])
    older = found[EVENTS_SHOWN - 1] if found[EVENTS_SHOWN:] else None
    context = {
        "events": found[:EVENTS_SHOWN],
        "older": older and f"{older.created_at.isoformat()}/{older.pk}",
        "paged": bool(place),
        "subject": subject,
        "subjects": [("", _("All")), *((name, SUBJECTS[name]) for name in SUBJECTS_OF_USERS)],
    }
    return render(request, "accounts/activity.html", context)


def _place(text: str) -> tuple[datetime, UUID] | None:
    """Where a page begins; made-up ones are the first page."""
    time, _slash, id = text.partition("/")
    try:
        found = parse_datetime(time)
        return (found, UUID(id)) if found and found.tzinfo else None
    except ValueError:
        return None
