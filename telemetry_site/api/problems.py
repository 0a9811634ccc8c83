"""Error responses: RFC 9457 problem documents below /api, HTML pages elsewhere."""

import sys
from collections.abc import Iterable
from http import HTTPStatus
from math import ceil
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop as _noop
from django.utils.translation import ngettext

from accounts.passwords.hashers import PasswordHashingBusy
from accounts.throttling import RateLimitExceeded
from common.quotas import DiskFull, QuotaReached
from common.strict_json import JSONError
from devices import rejections

NOT_FOUND = _noop("Not found, or you don't have access.")
DATABASE_AWAY = _noop("The database is temporarily unavailable. Nothing was stored.")
QUOTAS = {
    "DEVICES_PER_USER": _noop("A user can have at most %(count)d devices. Delete one first."),
    "TOKENS_PER_USER": _noop("A user can have at most %(count)d tokens. Revoke one first."),
}
RETRY_AFTER_SECONDS = 90
"""Up to this number, waiting times are given in seconds; above it in minutes."""
DETAILS = {
    400: _noop("The request is not valid."),
    403: _noop("You don't have permission to do this."),
    404: NOT_FOUND,
    429: _noop("Too many requests. Wait a moment, then try again."),
    500: _noop("An unexpected error occurred. It has been logged."),
    503: _noop("The site is temporarily unavailable. Try again in a moment."),
}
TITLES = {
    400: _noop("Bad request"),
    403: _noop("Not allowed"),
    404: _noop("Not found"),
    409: _noop("Conflict"),
    411: _noop("Length required"),
    413: _noop("Too large"),
    429: _noop("Too many requests"),
    500: _noop("Something went wrong"),
    503: _noop("Temporarily unavailable"),
    507: _noop("The disk is full"),
}
"""Titles of error pages. The API uses the HTTP reason phrases, in English."""


class ProblemResponse(JsonResponse):
    """A problem document, with the reasons that are counted for it."""

    def __init__(
        self, document: dict[str, Any], reasons: list[rejections.RejectionReason], **kwargs: Any
    ) -> None:
        super().__init__(document, content_type="application/problem+json", **kwargs)
        self.reasons = reasons


def problem_response(
    request: HttpRequest,
    status: int,
    *,
    detail: str = "",
    code: str = "",
    faults: Iterable[JSONError] = (),
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """Return a problem document; `code` tells apart errors that share a status."""
    faults = list(faults)
    detail = detail or DETAILS.get(status, HTTPStatus(status).description)
    document = {
        "type": f"urn:telemetry:problem:{code}" if code else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
        "errors": [fault._asdict() for fault in faults],
    }
    reasons = rejections.group_errors(faults) or [
        rejections.RejectionReason(code or str(status), 1, "", detail)
    ]
    return ProblemResponse(document, reasons, status=status, headers=headers)


def error_response(
    request: HttpRequest, status: int, *, detail: str = "", code: str = ""
) -> HttpResponse:
    """Return a problem document for API requests and an HTML page for all others."""
    if request.path.startswith("/api/"):
        return problem_response(request, status, detail=detail, code=code)
    return render(
        request,
        "error.html",
        {
            "status": status,
            "title": _(TITLES.get(status, HTTPStatus(status).phrase)),
            "detail": _(detail or DETAILS.get(status, HTTPStatus(status).description)),
            "request_id": getattr(request, "request_id", ""),
        },
        status=status,
    )


def rate_limit_response(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """Return the response, with `Retry-After`, to a request that a limit rejected; None for another
    error.
    """
    match error:
        case RateLimitExceeded(limit=limit, retry_after=seconds):
            detail = _("Too many attempts. Try again in %(time)s.") % {"time": _time(seconds)}
            response = error_response(request, 429, detail=detail, code=f"limit:{limit}")
        case PasswordHashingBusy():
            seconds = 5
            detail = _("Too many sign-ins at the moment. Try again.")
            response = error_response(request, 503, detail=detail)
        case DiskFull():
            seconds = 60
            detail = _("The disk is full. Nothing was stored.")
            response = error_response(request, 507, detail=detail, code="disk-full")
        case QuotaReached(setting=setting, limit=limit):
            return error_response(
                request, 409, detail=_(QUOTAS[setting]) % {"count": limit}, code="quota-reached"
            )
        case _:
            return None
    response["Retry-After"] = str(seconds)
    return response


def _time(seconds: int) -> str:
    if seconds <= RETRY_AFTER_SECONDS:
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    minutes = ceil(seconds / 60)
    return ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exc_info()[1], OperationalError):
        return database_unavailable(request)
    return error_response(request, 500)


def database_unavailable(request: HttpRequest) -> HttpResponse:
    """Return a 503. Without the database the user is unknown, too."""
    request.user = AnonymousUser()
    response = error_response(request, 503, detail=DATABASE_AWAY)
    response["Retry-After"] = "1"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_response(
        request, 403, detail=_noop("This form has expired. Go back, reload the page and try again.")
    )
