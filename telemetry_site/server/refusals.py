"""Responses to requests that are rejected before a thread processes them."""

import time
from functools import cache
from io import BytesIO
from uuid import uuid4

from django.contrib.auth.models import AnonymousUser
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.utils import translation
from django.utils.translation import gettext_noop as _noop
from granian.rsgi import HTTPProtocol

from telemetry_site.api import problems
from telemetry_site.middleware import request_metrics
from telemetry_site.middleware.http import HEADERS
from telemetry_site.server.django_handler import send
from telemetry_site.server.environ import Environ

BUSY = _noop("The site is busy. Try again in a moment.")
UNREADABLE = _noop("A request header is not ASCII.")
TOO_MANY_CHUNKS = _noop("The chunks of the body are too small.")
INCOMPLETE = _noop("The body is shorter than its Content-Length.")
TOO_SLOW = _noop("The request timed out.")
RETRY_AFTER = "2"
"""Seconds."""


def send_busy(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Send 503 with Retry-After: no thread or no memory was free for the request."""
    _send(protocol, environ, 503, BUSY, {"Retry-After": RETRY_AFTER}, started)


def send_too_many(
    protocol: HTTPProtocol, environ: Environ, retry_after: int, *, started: float
) -> None:
    """Send 429: the client is over its rate limit."""
    headers = {"Retry-After": str(retry_after)}
    _send(protocol, environ, 429, problems.DETAILS[429], headers, started)


def send_disk_full(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Send 507: the disk has no space for the body."""
    headers = {"Connection": "close", "Retry-After": "60"}
    _send(protocol, environ, 507, "The disk is full. Nothing was stored.", headers, started)


def send_too_slow(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Send 408 and close the connection: the body did not arrive in time."""
    _send(protocol, environ, 408, TOO_SLOW, {"Connection": "close"}, started)


def send_unreadable(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Send 400: a header is not ASCII."""
    _send(protocol, environ, 400, UNREADABLE, {"Connection": "close"}, started)


def send_too_many_chunks(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Send 400: the chunks of the body are too small."""
    _send(protocol, environ, 400, TOO_MANY_CHUNKS, {"Connection": "close"}, started)


def send_incomplete(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Send 400: the client closed the connection, or its half, before the end of the body."""
    _send(protocol, environ, 400, INCOMPLETE, {"Connection": "close"}, started)


def _send(
    protocol: HTTPProtocol,
    environ: Environ,
    status: int,
    detail: str,
    headers: dict[str, str],
    started: float,
) -> None:
    request = WSGIRequest(environ)
    request.request_id = uuid4().hex  # type: ignore[attr-defined]
    # Rejecting must not query the database, so the user is not looked up.
    request.user = AnonymousUser()
    response = _response(request, status, detail)
    headers = {**HEADERS, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", **headers}
    for name, value in headers.items():
        response.setdefault(name, value)
    response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
    response["Content-Length"] = str(len(response.content))
    request_metrics.record_request(request, response, seconds=time.perf_counter() - started)
    send(protocol, response)


def _response(request: WSGIRequest, status: int, detail: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problems.error_response(request, status, detail=detail)
    return HttpResponse(
        _page(translation.get_language_from_request(request), status, detail), status=status
    )


@cache
def _page(language: str, status: int, detail: str) -> bytes:
    """Return an error page. Cached, because to render a page blocks the event loop for longer than
    many requests do.
    """
    request = WSGIRequest(
        {"REQUEST_METHOD": "GET", "HTTP_HOST": "localhost", "wsgi.input": BytesIO()}
    )
    request.user = AnonymousUser()
    with translation.override(language):
        return problems.error_response(request, status, detail=detail).content
