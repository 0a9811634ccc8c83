"""Responses to requests that no thread works on."""

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
UNREADABLE = _noop("A header of the request is not ASCII.")
IN_PIECES = _noop("The chunks of the body are too small.")
INCOMPLETE = _noop("The body ended before its length.")
TOO_SLOW = _noop("The request took too long to arrive.")
RETRY_AFTER = "2"
"""Seconds."""


def send_busy(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Answer 503 with Retry-After: there was no thread or no room for the request."""
    _send(protocol, environ, 503, BUSY, {"Retry-After": RETRY_AFTER}, started)


def send_too_many(
    protocol: HTTPProtocol, environ: Environ, retry_after: int, *, started: float
) -> None:
    """Answer 429: the client sends more than it may."""
    headers = {"Retry-After": str(retry_after)}
    _send(protocol, environ, 429, problems.DETAILS[429], headers, started)


def send_disk_full(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Answer 507: there was no room on the disk for the body."""
    headers = {"Connection": "close", "Retry-After": "60"}
    _send(protocol, environ, 507, "The disk is full. Nothing was stored.", headers, started)


def send_too_slow(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Answer 408 and end the connection: the body did not arrive in time."""
    _send(protocol, environ, 408, TOO_SLOW, {"Connection": "close"}, started)


def send_unreadable(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Answer 400: a header is not ASCII."""
    _send(protocol, environ, 400, UNREADABLE, {"Connection": "close"}, started)


def send_in_pieces(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Answer 400: the chunks of the body are too small."""
    _send(protocol, environ, 400, IN_PIECES, {"Connection": "close"}, started)


def send_incomplete(protocol: HTTPProtocol, environ: Environ, *, started: float) -> None:
    """Answer 400: the client has ended the connection, or its half, before the body was whole."""
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
    # Nothing is asked of the database: who sent the request stays unknown.
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
    """A page, made once: to make one takes the event loop longer than many requests."""
    request = WSGIRequest(
        {"REQUEST_METHOD": "GET", "HTTP_HOST": "localhost", "wsgi.input": BytesIO()}
    )
    request.user = AnonymousUser()
    with translation.override(language):
        return problems.error_response(request, status, detail=detail).content
