"""Responses as ASGI messages."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from rest_framework import exceptions

from devices import live_url
from telemetry_site.api.exceptions import handle_exception
from telemetry_site.api.problems import problem_response
from telemetry_site.middleware.http import HEADERS

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def send_start(send: Send, status: int, headers: dict[str, str]) -> None:
    """Send the status and the headers."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def send_body(send: Send, body: bytes, *, more: bool = True) -> None:
    """Send a part of the body; `more=False` ends the response."""
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def send_response(send: Send, response: HttpResponse, headers: dict[str, str]) -> None:
    """Send a complete response."""
    length = {"content-length": str(len(response.content))} if response.status_code != 204 else {}
    await send_start(send, response.status_code, {**headers, **dict(response.items()), **length})
    await send_body(send, response.content, more=False)


def error_response(request: ASGIRequest, error: Exception) -> HttpResponse:
    """Return the response that the site sends for this error."""
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        error.auth_header = "Bearer"  # type: ignore[union-attr]
    response = handle_exception(error, {"request": SimpleNamespace(_request=request)})
    if response is None:
        logger.error("%s failed", request.path, exc_info=error)
        response = problem_response(request, 500)
    return response


def headers_for(request: ASGIRequest) -> dict[str, str]:
    """Return the headers of every response. The CORS headers allow only pages of this site.

    Raises DisallowedHost for another host name, PermissionDenied for a page of another origin.
    """
    request.request_id = uuid.uuid4().hex  # type: ignore[attr-defined]
    headers = {**HEADERS, "X-Request-Id": request.request_id}  # type: ignore[attr-defined]
    origin = request.headers.get("Origin")
    site = live_url.site_origin(request.get_host())
    if origin is None:
        return headers
    if origin not in _allowed_origins(site, request):
        raise exceptions.PermissionDenied("Only pages of this site may send this request.")
    return headers | {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


def _allowed_origins(site: str, request: ASGIRequest) -> Iterable[str]:
    return site, f"{request.scheme}://{request.get_host()}"
