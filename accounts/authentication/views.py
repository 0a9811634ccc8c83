"""Signing in and out, the password, and what happened to the account."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication.forms import SignInForm
from accounts.authentication.login import login_or_ask_mfa
from accounts.email import stored_links
from accounts.tokens import services as tokens
from common.request_pools import PASSWORDS, in_pool

SESSION_ONE_TIME_TOKEN = "sign_in_link"  # noqa: S105 - a key of the session


class SignInView(LoginView):
    """Django's, up to the right password."""

    def form_valid(self, form: Any) -> HttpResponse:
        name = form.cleaned_data["username"]
        return login_or_ask_mfa(self.request, form.get_user(), to=self.get_success_url(), name=name)


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
            "may_sign_up": settings.REGISTRATION_MODE == "open",
            "must_verify": not settings.ALLOW_UNVERIFIED_LOGIN,
        },
    )
    return door(request)


@require_safe
def one_time_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Take the secret of a one-time link out of the URL, where history and logs would keep it."""
    try:
        tokens.get_active(secret, scope=tokens.Scope.SIGN_IN, now=timezone.now())
    except tokens.InvalidToken:
        # Nobody fills the table of sessions with made-up links.
        stored_links.forget(request, SESSION_ONE_TIME_TOKEN)
    else:
        stored_links.keep(request, SESSION_ONE_TIME_TOKEN, secret)
    return redirect("sign-in-by-link")


@require_http_methods(["GET", "HEAD", "POST"])
def confirm_one_time_link(request: HttpRequest) -> HttpResponse:
    """A button, and signing in when it is pressed: what only looks at a link uses nothing up."""
    secret = stored_links.kept(request, SESSION_ONE_TIME_TOKEN)
    now = timezone.now()
    try:
        if request.method != "POST":
            user = tokens.get_active(secret, scope=tokens.Scope.SIGN_IN, now=now).user
            return render(request, "accounts/sign_in_link.html", {"name": user.username})
        user = tokens.consume(secret, scope=tokens.Scope.SIGN_IN, now=now)
    except tokens.InvalidToken:
        if not secret and request.user.is_authenticated:
            # The button was pressed twice, and the first time did it.
            return redirect("home")
        stored_links.forget(request, SESSION_ONE_TIME_TOKEN)
        return render(request, "accounts/sign_in_link_refused.html", status=410)
    stored_links.forget(request, SESSION_ONE_TIME_TOKEN)
    return login_or_ask_mfa(request, user, to=reverse("home"))


@in_pool(PASSWORDS)
def redirect_admin_login(request: HttpRequest) -> HttpResponse:
    """The admin has no door of its own, which would know nothing of a second factor."""
    if request.user.is_authenticated:
        # Signed in, and no member of staff: asking again would lead here again.
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next", reverse("admin:index")))
