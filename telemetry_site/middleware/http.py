"""What is done to every request and answer."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.text import compress_string
from django.utils.translation import gettext as _

from telemetry_site import context_processors
from telemetry_site.api import problems
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
PARAMETERS_LIMIT = 200
"""Parameters in the query of an address."""
LONGEST_LENGTH = 20
"""Digits of a Content-Length."""


def response_headers(get_response: Handler) -> Handler:
    """Tell browsers how little they may do with our pages, and everybody how long the answer is."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for header, value in HEADERS.items():
            response.setdefault(header, value)
        if url := context_processors.live_url_context(request)["live_url"]:
            response["Content-Security-Policy"] = csp_with_live_origin(url)
        if not response.streaming and not response.has_header("Content-Length"):
            # Else the server sends it in chunks, which small devices cannot read.
            response["Content-Length"] = str(len(response.content))
        return response

    return middleware


def csp_with_live_origin(url: str) -> str:
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


def reject_nul_bytes(get_response: Handler) -> Handler:
    """Refuse the one character that PostgreSQL cannot compare with anything, where no form or
    serializer would: in cookies, and in the queries that the admin makes filters of.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        in_query = request.path.startswith("/admin/") and "%00" in request.META["QUERY_STRING"]
        if in_query or any("\0" in cookie for cookie in request.COOKIES.values()):
            return problems.error_response(request, 400)
        return get_response(request)

    return middleware


def query_limit(get_response: Handler) -> Handler:
    """Refuse a query of more parameters than any address has a use for, before it is parsed."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.META["QUERY_STRING"].count("&") >= PARAMETERS_LIMIT:
            limit = {"limit": PARAMETERS_LIMIT}
            detail = _("The address may have %(limit)s parameters at most.") % limit
            return problems.error_response(request, 400, detail=detail)
        return get_response(request)

    return middleware


def body_limit(get_response: Handler) -> Handler:
    """Refuse a body that is too large, or of a length nobody has told, before it is read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("Transfer-Encoding"):
            if takes_chunks(request.META):
                # Measured while it is read.
                return get_response(request)
            return problems.error_response(
                request, 411, detail=_("Send the body's length (Content-Length).")
            )
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdecimal()):
            return problems.error_response(
                request, 400, detail=_("Content-Length is no number of bytes.")
            )
        # No number of more digits is a length that anybody can send, nor need it be read as one.
        if len(length) > LONGEST_LENGTH or int(length) > settings.BODY_LIMIT:
            limit = body_limit_for(request.path_info)
            if len(length) > LONGEST_LENGTH or int(length) > limit:
                detail = _("The body may have %(limit)s bytes at the most.") % {"limit": limit}
                return problems.error_response(request, 413, detail=detail)
        return get_response(request)

    return middleware


def body_limit_for(path: str) -> int:
    """Bytes of a body that the view takes: BODY_LIMIT, unless it names another setting."""
    try:
        view = getattr(resolve(path).func, "cls", None)
    except Resolver404:
        view = None
    return int(getattr(settings, getattr(view, "body_limit_setting", "BODY_LIMIT")))


def gzip_with_padding(get_response: Handler) -> Handler:
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
