"""Whose request it was that is answered with a refusal, so that its owner sees it."""

import logging
from uuid import UUID

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import User
from accounts.tokens import format as token_format
from devices import rejections
from devices.models import Device, DeviceToken
from devices.services import TOKEN_PREFIX
from telemetry.ingest import outcome
from telemetry_site.api.problems import ProblemResponse

logger = logging.getLogger(__name__)

BEARER = f"Bearer {TOKEN_PREFIX}_"


def rejection_reasons(response: HttpResponse) -> list[rejections.RejectionReason]:
    """What a request, or some of the readings in it, is refused for; nothing if it is our fault."""
    if isinstance(response, ProblemResponse):
        return response.reasons if response.status_code < 500 else []
    found = outcome.get_outcome(response)
    return found.reasons if found else []


def record_rejection(
    request: HttpRequest, why: list[rejections.RejectionReason], *, status: int
) -> None:
    """Count a refusal at the device that sent the request, or whose owner sent it for it.

    A token that has been revoked still tells whose it was.
    """
    try:
        device_id = _device_of_token(request) or _device_of_owner(request)
    except Error as error:
        logger.warning("nobody can tell whose request was refused: %s", error)
        return
    if device_id is not None:
        known = getattr(request, "request_id", "")
        rejections.record(device_id, why, status=status, request_id=known, now=timezone.now())


def _device_of_token(request: HttpRequest) -> UUID | None:
    known = getattr(request, "auth", None)
    if isinstance(known, DeviceToken):
        return known.device_id
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    if not authorization.startswith(BEARER):
        return None
    try:
        secret = token_format.parse(authorization.removeprefix("Bearer ").strip(), TOKEN_PREFIX)
    except token_format.MalformedToken:
        return None
    found = DeviceToken.objects.filter(token_hash=secret.digest)
    return found.values_list("device_id", flat=True).first()


def _device_of_owner(request: HttpRequest) -> UUID | None:
    """Readings that somebody sends for a device; other mistakes of people are no device's."""
    user, match = getattr(request, "user", None), request.resolver_match
    if request.method != "POST" or match is None or not isinstance(user, User):
        return None
    if not match.route.endswith("<uuid:device_id>/telemetry"):
        return None
    found = Device.objects.visible_to(user).filter(pk=match.kwargs["device_id"])
    return found.values_list("pk", flat=True).first()
