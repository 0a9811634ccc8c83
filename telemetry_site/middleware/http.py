"""Middleware for headers, limits, language and compression of all requests."""

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
    # Static files set their own header. All other responses may be for one user only.
    "Cache-Control": "no-store",
}
"""Set in every response that does not set them itself."""

MIN_COMPRESSED_BYTES = 1000
"""Smaller responses are not compressed."""
RANDOM_BYTES = 100
MAX_QUERY_PARAMETERS = 200
"""Parameters in the query of a URL."""
MAX_LENGTH_DIGITS = 20
"""Digits of a Content-Length; a longer one is rejected without parsing."""


def response_headers(get_response: Handler) -> Handler:
    """Set the security headers and the Content-Length of each response."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for header, value in HEADERS.items():
            response.setdefault(header, value)
        if url := context_processors.live_url_context(request)["live_url"]:
            response["Content-Security-Policy"] = csp_with_live_origin(url)
        if not response.streaming and not response.has_header("Content-Length"):
            # Otherwise the server sends chunks, which small devices cannot read.
            response["Content-Length"] = str(len(response.content))
        return response

    return middleware


def csp_with_live_origin(url: str) -> str:
    """Return the CSP that also allows the event stream of the live origin."""
    sources = "connect-src 'self'" if url == settings.PUBLIC_URL else f"connect-src 'self' {url}"
    return CONTENT_SECURITY_POLICY.replace("connect-src 'self'", sources)


def language(get_response: Handler) -> Handler:
    """Use the language that the browser requests. The API always uses English."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/"):
            return get_response(request)
        requested = translation.get_language_from_request(request)
        with translation.override(requested, deactivate=True):
            response = get_response(request)
            response.setdefault("Content-Language", translation.get_language())
        patch_vary_headers(response, ["Accept-Language"])
        return response

    return middleware


def without_trailing_slash(get_response: Handler) -> Handler:
    """Accept paths with and without a trailing slash: a redirect would lose the body of a POST."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/admin/"):
            request.path_info = request.path_info.rstrip("/") or "/"
        return get_response(request)

    return middleware


def reject_nul_bytes(get_response: Handler) -> Handler:
    """Reject NUL bytes in cookies and admin query strings, which Django does not validate.
    PostgreSQL raises an error for them.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        in_query = request.path.startswith("/admin/") and "%00" in request.META["QUERY_STRING"]
        if in_query or any("\0" in cookie for cookie in request.COOKIES.values()):
            return problems.error_response(request, 400)
        return get_response(request)

    return middleware


def query_limit(get_response: Handler) -> Handler:
    """Reject a query with too many parameters before it is parsed."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.META["QUERY_STRING"].count("&") >= MAX_QUERY_PARAMETERS:
            limit = {"limit": MAX_QUERY_PARAMETERS}
            detail = _("The URL can have at most %(limit)s parameters.") % limit
            return problems.error_response(request, 400, detail=detail)
        return get_response(request)

    return middleware


def body_limit(get_response: Handler) -> Handler:
    """Reject a body that is too large or has no valid length, before it is read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("Transfer-Encoding"):
            if takes_chunks(request.META):
                # Its length is checked while it is read.
                return get_response(request)
            return problems.error_response(
                request, 411, detail=_("Send the header Content-Length.")
            )
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdecimal()):
            return problems.error_response(
                request, 400, detail=_("Content-Length must be a number of bytes.")
            )
        # Python limits the digits of int(); a number with more digits is over any limit anyway.
        if len(length) > MAX_LENGTH_DIGITS or int(length) > settings.BODY_LIMIT:
            limit = body_limit_for(request.path_info)
            if len(length) > MAX_LENGTH_DIGITS or int(length) > limit:
                detail = _("The body can have at most %(limit)s bytes.") % {"limit": limit}
                return problems.error_response(request, 413, detail=detail)
        return get_response(request)

    return middleware


def body_limit_for(path: str) -> int:
    """Return the body limit of the view in bytes: BODY_LIMIT, unless it names another setting."""
    try:
        view = getattr(resolve(path).func, "cls", None)
    except Resolver404:
        view = None
    return int(getattr(settings, getattr(view, "body_limit_setting", "BODY_LIMIT")))


def gzip_with_padding(get_response: Handler) -> Handler:
    """Compress pages and JSON for clients that accept gzip.

    Random padding hides the exact length, which could reveal a secret on the page (BREACH).
    Streamed responses are not compressed, because compression would delay their parts.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        patch_vary_headers(response, ["Accept-Encoding"])
        if (
            response.streaming
            or len(response.content) < MIN_COMPRESSED_BYTES
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
