"""How errors are answered: RFC 9457 problem documents under /api, pages elsewhere."""

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

NOT_FOUND = _noop("There is nothing here, or nothing that you may see.")
DATABASE_AWAY = _noop("The database cannot answer just now; nothing was stored.")
QUOTAS = {
    "DEVICES_PER_USER": _noop("A user can have %(count)d devices. Delete one first."),
    "TOKENS_PER_USER": _noop("A user can have %(count)d tokens. Revoke one first."),
}
RETRY_AFTER_SECONDS = 90
"""Up to here a time to wait is told in seconds."""
DETAILS = {
    400: _noop("The request could not be understood."),
    403: _noop("You may not do this."),
    404: NOT_FOUND,
    429: _noop("That was too often. Wait a little, then try again."),
    500: _noop("Something went wrong on our side. It has been noted."),
    503: _noop("The site cannot answer just now. Try again in a moment."),
}
TITLES = {
    400: _noop("Not understood"),
    403: _noop("Not allowed"),
    404: _noop("Not found"),
    409: _noop("Not possible"),
    411: _noop("Length needed"),
    413: _noop("Too large"),
    429: _noop("Too many requests"),
    500: _noop("Something went wrong"),
    503: _noop("Back in a moment"),
    507: _noop("The disk is full"),
}
"""Of pages. The API keeps to the phrases of HTTP, and to English."""


class ProblemResponse(JsonResponse):
    """A problem document, and for what it is counted."""

    def __init__(
        self, told: dict[str, Any], why: list[rejections.RejectionReason], **how: Any
    ) -> None:
        super().__init__(told, content_type="application/problem+json", **how)
        self.reasons = why


def problem_response(
    request: HttpRequest,
    status: int,
    *,
    detail: str = "",
    code: str = "",
    faults: Iterable[JSONError] = (),
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """A problem document; `code` names the kind where the status alone does not."""
    faults = list(faults)
    detail = detail or DETAILS.get(status, HTTPStatus(status).description)
    told = {
        "type": f"urn:telemetry:problem:{code}" if code else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
        "errors": [fault._asdict() for fault in faults],
    }
    why = rejections.group_errors(faults) or [
        rejections.RejectionReason(code or str(status), 1, "", detail)
    ]
    return ProblemResponse(told, why, status=status, headers=headers)


def error_response(
    request: HttpRequest, status: int, *, detail: str = "", code: str = ""
) -> HttpResponse:
    """An error in the form that whoever asked can read."""
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
    """The answer to what was not even tried, with `Retry-After`; None for any other error."""
    match error:
        case RateLimitExceeded(limit=limit, retry_after=seconds):
            detail = _("Too many tries. Try again in %(time)s.") % {"time": _time(seconds)}
            response = error_response(request, 429, detail=detail, code=f"limit:{limit}")
        case PasswordHashingBusy():
            seconds = 5
            detail = _("Too many people sign in at this moment. Try again.")
            response = error_response(request, 503, detail=detail)
        case DiskFull():
            seconds = 60
            detail = _("The disk is full. Nothing was stored.")
            response = error_response(request, 507, detail=detail, code="disk-full")
        case QuotaReached(setting=setting, most=most):
            return error_response(
                request, 409, detail=_(QUOTAS[setting]) % {"count": most}, code="quota-reached"
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
    """503 to whoever asked for what only the database knows: who that is, too."""
    request.user = AnonymousUser()
    response = error_response(request, 503, detail=DATABASE_AWAY)
    response["Retry-After"] = "1"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_response(
        request, 403, detail=_noop("This form was opened too long ago. Go back, reload, try again.")
    )
