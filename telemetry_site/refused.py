"""Whose request it was that is answered with a refusal, so that its owner sees it."""

import logging
from uuid import UUID

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import secrets
from accounts.models import User
from devices import refusals
from devices.enrolment import TOKEN_PREFIX
from devices.models import Device, DeviceToken
from telemetry.api import outcome
from telemetry_site.errors import Problem

logger = logging.getLogger(__name__)

BEARER = f"Bearer {TOKEN_PREFIX}_"


def reasons(response: HttpResponse) -> list[refusals.Reason]:
    """What a request, or some of the readings in it, is refused for; nothing if it is our fault."""
    if isinstance(response, Problem):
        return response.reasons if response.status_code < 500 else []
    found = outcome.of(response)
    return found.reasons if found else []


def note(request: HttpRequest, why: list[refusals.Reason], *, status: int) -> None:
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
        refusals.note(device_id, why, status=status, request_id=known, now=timezone.now())


def _device_of_token(request: HttpRequest) -> UUID | None:
    known = getattr(request, "auth", None)
    if isinstance(known, DeviceToken):
        return known.device_id
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    if not authorization.startswith(BEARER):
        return None
    try:
        secret = secrets.parse(authorization.removeprefix("Bearer ").strip(), TOKEN_PREFIX)
    except secrets.MalformedSecret:
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
