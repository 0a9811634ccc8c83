"""The express lane: one usual reading, or a few, of a device that has just been known.

Most requests are of this kind. One statement asks whether the token lives and stores what came,
and neither the framework nor the rest of the middleware is gone through. Whatever is not as usual
is left to the door that everybody else takes; that one alone says no to anybody.
"""

from hashlib import sha256

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from devices.authentication import remembered
from devices.enrolment import TOKEN_PREFIX
from telemetry import bodies, ingest, readings, retention
from telemetry.api.readings import of_many, of_one

PATH = "/api/v1/device/telemetry"
LONGEST = 32 * 1024
"""Bytes; of a larger body the way is a small part of what it costs."""
UNUSUAL = ("HTTP_CONTENT_ENCODING", "HTTP_IDEMPOTENCY_KEY", "HTTP_TRANSFER_ENCODING")
BEARER = f"Bearer {TOKEN_PREFIX}_"


def answer(request: HttpRequest) -> HttpResponse | None:
    """The answer to readings that are stored now; None where all is still to be done."""
    sent = request.META
    length = sent.get("CONTENT_LENGTH") or "0"
    authorization = sent.get("HTTP_AUTHORIZATION", "")
    if (
        request.path_info != PATH
        or request.method != "POST"
        or sent.get("CONTENT_TYPE") != "application/json"
        or not authorization.startswith(BEARER)
        or int(length) > LONGEST
        or any(header in sent for header in UNUSUAL)
    ):
        return None
    digest = sha256(authorization.removeprefix("Bearer ").encode("latin-1")).digest()
    token = remembered(digest, now=timezone.now())
    raw = request.body if token else b""
    body = bodies.decode_quickly(raw) if len(raw) == int(length) else None
    if token is None or body is None or not _is_our_name(request):
        return None
    device, now = token.device, timezone.now()
    earliest = retention.earliest(device, now)
    valid, rejected = readings.parse_all(
        body.values, device_id=device.pk, now=now, earliest=earliest
    )
    if rejected or not valid:
        return None
    stored = ingest.store_quickly(device, valid, digest=digest, now=now)
    if stored is None:
        return None
    return of_many(stored) if body.is_list else of_one(device, valid[0], stored, now)


def _is_our_name(request: HttpRequest) -> bool:
    try:
        return bool(request.get_host())
    except DisallowedHost:
        return False
