"""Record rejected requests at the device that sent them, so that its owner can see them."""

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
    """Return why the request or some of its readings were rejected; [] for server errors."""
    if isinstance(response, ProblemResponse):
        return response.reasons if response.status_code < 500 else []
    found = outcome.get_outcome(response)
    return found.reasons if found else []


def record_rejection(
    request: HttpRequest, reasons: list[rejections.RejectionReason], *, status: int
) -> None:
    """Record the rejection at the device that sent the request, or for which its owner sent it.

    A revoked token still identifies its device.
    """
    try:
        device_id = _device_of_token(request) or _device_of_owner(request)
    except Error as error:
        logger.warning("could not look up the device of a rejected request: %s", error)
        return
    if device_id is not None:
        request_id = getattr(request, "request_id", "")
        now = timezone.now()
        rejections.record(device_id, reasons, status=status, request_id=request_id, now=now)


def _device_of_token(request: HttpRequest) -> UUID | None:
    auth = getattr(request, "auth", None)
    if isinstance(auth, DeviceToken):
        return auth.device_id
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    if not authorization.startswith(BEARER):
        return None
    try:
        secret = token_format.parse(authorization.removeprefix("Bearer ").strip(), TOKEN_PREFIX)
    except token_format.MalformedToken:
        return None
    tokens = DeviceToken.objects.filter(token_hash=secret.digest)
    return tokens.values_list("device_id", flat=True).first()


def _device_of_owner(request: HttpRequest) -> UUID | None:
    """Return the device of a request in which its owner sends readings. Other rejected requests of
    users belong to no device.
    """
    user, match = getattr(request, "user", None), request.resolver_match
    if request.method != "POST" or match is None or not isinstance(user, User):
        return None
    if not match.route.endswith("<uuid:device_id>/telemetry"):
        return None
    devices = Device.objects.visible_to(user).filter(pk=match.kwargs["device_id"])
    return devices.values_list("pk", flat=True).first()
