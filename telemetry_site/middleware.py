"""What is done to every request and answer."""

import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers
from django.utils.text import compress_string
from django.utils.translation import gettext as _

from accounts import addresses, audit, sessions
from accounts.authentication import lacks_second_factor
from telemetry.api import express
from telemetry_site import context, errors, health, logs, metrics, observed, refused
from telemetry_site.server.request_body import takes_chunks

Handler = Callable[[HttpRequest], HttpResponse]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Static files say otherwise of themselves; everything else belongs to who asked for it.
    "Cache-Control": "no-store",
}
"""Sent with every answer that does not bring its own."""

WORTH_COMPRESSING = 1000
"""Bytes of an answer."""
RANDOM_BYTES = 100
OPEN_WITHOUT_SECOND_FACTOR = ("second-factor", "second-factor-set-up", "sign-out")

PARAMETERS_LIMIT = 200
"""Parameters in the query of an address."""
LONGEST_LENGTH = 20
"""Digits of a Content-Length."""


def operations(get_response: Handler) -> Handler:
    """Answer probes and Prometheus before anything else is done."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path in health.PATHS:
            return health.answer(path)
        if path == metrics.PATH and metrics.may_see(request):
            return metrics.answer()
        return get_response(request)

    return middleware


def observe(get_response: Handler) -> Handler:
    """Give each request an id that its answer, error page and log lines carry, and time it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        known = uuid.uuid4().hex
        request.request_id = known  # type: ignore[attr-defined]
        # Until the next request: an answer that is streamed is logged about later than this.
        logs.request_id.set(known)
        response = get_response(request)
        response["X-Request-Id"] = known
        observed.note(request, response, seconds=time.perf_counter() - started)
        return response

    return middleware


def refusals(get_response: Handler) -> Handler:
    """Let owners see what was refused of their devices."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if reasons := refused.reasons(response):
            refused.note(request, reasons, status=response.status_code)
        return response

    return middleware


def response_headers(get_response: Handler) -> Handler:
    """Tell browsers how little they may do with our pages, and everybody how long the answer is."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for header, value in HEADERS.items():
            response.setdefault(header, value)
        if url := context.live_url(request)["live_url"]:
            response["Content-Security-Policy"] = with_live(url)
        if not response.streaming and not response.has_header("Content-Length"):
            # Else the server sends it in chunks, which small devices cannot read.
            response["Content-Length"] = str(len(response.content))
        return response

    return middleware


def with_live(url: str) -> str:
    """Lets a page listen to events at the one other origin where they are told."""
    sources = "connect-src 'self'" if url == settings.PUBLIC_URL else f"connect-src 'self' {url}"
    return CONTENT_SECURITY_POLICY.replace("connect-src 'self'", sources)


def language(get_response: Handler) -> Handler:
    """Speak the language that a browser asks for; the API speaks English, whoever asks."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/"):
            return get_response(request)
        asked = translation.get_language_from_request(request)
        with translation.override(asked, deactivate=True):
            response = get_response(request)
            response.setdefault("Content-Language", translation.get_language())
        patch_vary_headers(response, ["Accept-Language"])
        return response

    return middleware


def without_trailing_slash(get_response: Handler) -> Handler:
    """Both forms of a path answer: a redirect would lose the body of a POST."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/admin/"):
            request.path_info = request.path_info.rstrip("/") or "/"
        return get_response(request)

    return middleware


def without_nul(get_response: Handler) -> Handler:
    """Refuse the one character that PostgreSQL cannot compare with anything, where no form or
    serializer would: in cookies, and in the queries that the admin makes filters of.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        in_query = request.path.startswith("/admin/") and "%00" in request.META["QUERY_STRING"]
        if in_query or any("\0" in cookie for cookie in request.COOKIES.values()):
            return errors.answer(request, 400)
        return get_response(request)

    return middleware


def query_limit(get_response: Handler) -> Handler:
    """Refuse a query of more parameters than any address has a use for, before it is parsed."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.META["QUERY_STRING"].count("&") >= PARAMETERS_LIMIT:
            limit = {"limit": PARAMETERS_LIMIT}
            detail = _("The address may have %(limit)s parameters at most.") % limit
            return errors.answer(request, 400, detail=detail)
        return get_response(request)

    return middleware


def body_limit(get_response: Handler) -> Handler:
    """Refuse a body that is too large, or of a length nobody has told, before it is read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("Transfer-Encoding"):
            if takes_chunks(request.META):
                # Measured while it is read.
                return get_response(request)
            return errors.answer(request, 411, detail=_("Send the body's length (Content-Length)."))
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdecimal()):
            return errors.answer(request, 400, detail=_("Content-Length is no number of bytes."))
        # No number of more digits is a length that anybody can send, nor need it be read as one.
        if len(length) > LONGEST_LENGTH or int(length) > settings.BODY_LIMIT:
            limit = limit_of_view(request.path_info)
            if len(length) > LONGEST_LENGTH or int(length) > limit:
                detail = _("The body may have %(limit)s bytes at the most.") % {"limit": limit}
                return errors.answer(request, 413, detail=detail)
        return get_response(request)

    return middleware


def limit_of_view(path: str) -> int:
    """Bytes of a body that the view takes: BODY_LIMIT, unless it names another setting."""
    try:
        view = getattr(resolve(path).func, "cls", None)
    except Resolver404:
        view = None
    return int(getattr(settings, getattr(view, "body_limit_setting", "BODY_LIMIT")))


def compressed(get_response: Handler) -> Handler:
    """Send pages and JSON deflated to those who can read it.

    With a few random bytes, so that the length tells nothing of a secret on a page. What is
    streamed is left alone: events would wait for each other.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        patch_vary_headers(response, ["Accept-Encoding"])
        if (
            response.streaming
            or len(response.content) < WORTH_COMPRESSING
            or response.has_header("Content-Encoding")
            or "gzip" not in request.headers.get("Accept-Encoding", "")
        ):
            return response
        response.content = compress_string(response.content, max_random_bytes=RANDOM_BYTES)
        response.headers["Content-Encoding"] = "gzip"
        if response.has_header("Content-Length"):
            response.headers["Content-Length"] = str(len(response.content))
        return response

    return middleware


def express_lane(get_response: Handler) -> Handler:
    """Let devices pass that have one reading to hand in."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            return express.answer(request) or get_response(request)
        except OperationalError:
            # Of the express lane's own: behind it every error has become an answer.
            return errors.database_away(request)

    return middleware


def session_origin(get_response: Handler) -> Handler:
    """Tell the session where its browser is, for whoever looks at the list of their sessions."""

    def middleware(request: HttpRequest) -> HttpResponse:
        session = sessions.of_request(request)
        session.address = addresses.of(request)
        session.user_agent = request.headers.get("User-Agent", "").replace("\0", "")
        return get_response(request)

    return middleware


def who_acts(get_response: Handler) -> Handler:
    """Tell the audit trail whose session this is, and from where; a token tells more, later."""

    def middleware(request: HttpRequest) -> HttpResponse:
        address = addresses.of(request)
        with audit.acting(lambda: request.user, means=audit.Means.SESSION, address=address):
            return get_response(request)

    return middleware


def limits(get_response: Handler) -> Handler:
    """Tell people what was not even tried: too often, or too much at once. The API maps these
    errors itself.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_exception(request: HttpRequest, error: Exception) -> HttpResponse | None:
        return errors.refusal(request, error)

    middleware.process_exception = process_exception  # type: ignore[attr-defined]
    return middleware


def second_factor_of_staff(get_response: Handler) -> Handler:
    """Where it is demanded of them, staff without a second factor see only how to set it up. The
    API, where most have tokens, asks for itself (accounts.authentication).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if (
            settings.STAFF_SECOND_FACTOR
            and not request.path_info.startswith("/api/")
            and request.path_info not in map(reverse, OPEN_WITHOUT_SECOND_FACTOR)
            and lacks_second_factor(request)
        ):
            return redirect("second-factor")
        return get_response(request)

    return middleware


def likings_of_user(get_response: Handler) -> Handler:
    """Show people times in their own zone, and words in the language they have chosen; the API
    speaks UTC and English.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/") or not request.user.is_authenticated:
            return get_response(request)
        if request.user.language:
            # Until the end of `language`, so that it tells which it was.
            translation.activate(request.user.language)
        with timezone.override(request.user.time_zone):
            return get_response(request)

    return middleware
