"""Pages of sign-in: by password or by one-time link."""

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
    """Django's sign-in view, with the MFA code after the password."""

    def form_valid(self, form: Any) -> HttpResponse:
        name = form.cleaned_data["username"]
        return login_or_ask_mfa(
            self.request, form.get_user(), next_url=self.get_success_url(), name=name
        )


@in_pool(PASSWORDS)
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Show and process the sign-in form."""
    if "HX-Request" in request.headers:
        # The session ended while htmx refreshed a part of a page: redirect the whole page.
        path = request.headers.get("HX-Current-URL", "").partition("://")[2].partition("/")[2]
        query = urlencode({"next": f"/{path}"})
        return HttpResponse(status=204, headers={"HX-Redirect": f"{reverse('sign-in')}?{query}"})
    view = SignInView.as_view(
        template_name="accounts/sign_in.html",
        authentication_form=SignInForm,
        redirect_authenticated_user=True,
        extra_context={
            "may_sign_up": settings.REGISTRATION_MODE == "open",
            "must_verify": not settings.ALLOW_UNVERIFIED_LOGIN,
        },
    )
    return view(request)


@require_safe
def one_time_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Store the token of a one-time link and redirect, so that it stays out of history and logs."""
    try:
        tokens.get_active(secret, scope=tokens.Scope.SIGN_IN, now=timezone.now())
    except tokens.InvalidToken:
        # Do not create sessions for invalid links: clients could fill the table.
        stored_links.clear(request, SESSION_ONE_TIME_TOKEN)
    else:
        stored_links.store(request, SESSION_ONE_TIME_TOKEN, secret)
    return redirect("sign-in-by-link")


@require_http_methods(["GET", "HEAD", "POST"])
def confirm_one_time_link(request: HttpRequest) -> HttpResponse:
    """Show a button; sign in when it is pressed. A prefetch does not consume the token."""
    digest = stored_links.get_digest(request, SESSION_ONE_TIME_TOKEN)
    now = timezone.now()
    try:
        if stored_links.get_form_data(request, SESSION_ONE_TIME_TOKEN) is None:
            user = tokens.get_active(digest, scope=tokens.Scope.SIGN_IN, now=now).user
            return stored_links.render_form(
                request,
                SESSION_ONE_TIME_TOKEN,
                "accounts/sign_in_link.html",
                {"name": user.username},
            )
        user = tokens.consume(digest, scope=tokens.Scope.SIGN_IN, now=now)
    except tokens.InvalidToken:
        if not digest and request.user.is_authenticated:
            # The button was pressed twice; the first request has signed in.
            return redirect("home")
        stored_links.clear(request, SESSION_ONE_TIME_TOKEN)
        return render(request, "accounts/sign_in_link_refused.html", status=410)
    stored_links.clear(request, SESSION_ONE_TIME_TOKEN)
    return login_or_ask_mfa(request, user, next_url=reverse("home"))


@in_pool(PASSWORDS)
def redirect_admin_login(request: HttpRequest) -> HttpResponse:
    """Redirect to the sign-in page, because the admin's own one does not support MFA."""
    if request.user.is_authenticated:
        # Signed in, but not staff: a redirect to the sign-in page would loop.
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next", reverse("admin:index")))
