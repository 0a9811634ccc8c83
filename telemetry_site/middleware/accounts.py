"""Middleware for sessions, the audit actor, rate limits and the user's preferences."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone, translation

from accounts.audit import log as audit
from accounts.authentication.drf import requires_mfa
from accounts.sessions import services as sessions
from common import client_ip
from telemetry_site.api import problems
from telemetry_site.middleware.http import Handler

ALLOWED_WITHOUT_MFA = ("second-factor", "second-factor-set-up", "sign-out")


def session_origin(get_response: Handler) -> Handler:
    """Store the IP address and user agent in the session, for the user's list of sessions."""

    def middleware(request: HttpRequest) -> HttpResponse:
        session = sessions.get_session_store(request)
        session.address = client_ip.get_client_ip(request)
        session.user_agent = request.headers.get("User-Agent", "").replace("\0", "")
        return get_response(request)

    return middleware


def audit_actor(get_response: Handler) -> Handler:
    """Set the user of the session and the IP address as audit actor. Token authentication replaces
    it later.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        address = client_ip.get_client_ip(request)
        with audit.audit_context(
            lambda: request.user, auth_method=audit.Means.SESSION, ip_address=address
        ):
            return get_response(request)

    return middleware


def rate_limit_errors(get_response: Handler) -> Handler:
    """Return an error page for rate limit errors. The API handles these errors itself."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_exception(request: HttpRequest, error: Exception) -> HttpResponse | None:
        return problems.rate_limit_response(request, error)

    middleware.process_exception = process_exception  # type: ignore[attr-defined]
    return middleware


def enforce_staff_mfa(get_response: Handler) -> Handler:
    """With REQUIRE_STAFF_MFA, redirect staff without MFA to its setup. The API checks this itself
    (accounts.authentication).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if (
            settings.REQUIRE_STAFF_MFA
            and not request.path_info.startswith("/api/")
            and request.path_info not in map(reverse, ALLOWED_WITHOUT_MFA)
            and requires_mfa(request)
        ):
            return redirect("second-factor")
        return get_response(request)

    return middleware


def user_preferences(get_response: Handler) -> Handler:
    """Use the time zone and language that the user has chosen. The API uses UTC and English."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/") or not request.user.is_authenticated:
            return get_response(request)
        if request.user.language:
            # Not an override: the middleware `language` reads the active language and resets it.
            translation.activate(request.user.language)
        with timezone.override(request.user.time_zone):
            return get_response(request)

    return middleware
