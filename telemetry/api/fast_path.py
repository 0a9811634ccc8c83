"""The express lane: one usual reading, or a few, of a device that has just been known.

Most requests are of this kind. One statement asks whether the token lives and stores what came,
and neither the framework nor the rest of the middleware is gone through. Whatever is not as usual
is left to the door that everybody else takes; that one alone says no to anybody.
"""

from hashlib import sha256

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from devices.authentication import get_cached_token
from devices.services import TOKEN_PREFIX
from telemetry.api.readings import batch_response, single_response
from telemetry.ingest import decoding, storage, validation
from telemetry.retention import rules as retention

PATH = "/api/v1/device/telemetry"
MAX_BODY_BYTES = 32 * 1024
"""Bytes; of a larger body the way is a small part of what it costs."""
SLOW_PATH_HEADERS = ("HTTP_CONTENT_ENCODING", "HTTP_IDEMPOTENCY_KEY", "HTTP_TRANSFER_ENCODING")
BEARER = f"Bearer {TOKEN_PREFIX}_"


def try_fast_path(request: HttpRequest) -> HttpResponse | None:
    """The answer to readings that are stored now; None where all is still to be done."""
    sent = request.META
    length = sent.get("CONTENT_LENGTH") or "0"
    authorization = sent.get("HTTP_AUTHORIZATION", "")
    if (
        request.path_info != PATH
        or request.method != "POST"
        or sent.get("CONTENT_TYPE") != "application/json"
        or not authorization.startswith(BEARER)
        or int(length) > MAX_BODY_BYTES
        or any(header in sent for header in SLOW_PATH_HEADERS)
    ):
        return None
    digest = sha256(authorization.removeprefix("Bearer ").encode("latin-1")).digest()
    token = get_cached_token(digest, now=timezone.now())
    raw = request.body if token else b""
    body = decoding.decode_fast(raw) if len(raw) == int(length) else None
    if token is None or body is None or not _is_allowed_host(request):
        return None
    device, now = token.device, timezone.now()
    earliest = retention.earliest_allowed(device, now)
    valid, rejected = validation.parse_all(
        body.values, device_id=device.pk, now=now, earliest=earliest
    )
    if rejected or not valid:
        return None
    stored = storage.store_if_token_active(device, valid, digest=digest, now=now)
    if stored is None:
        return None
    return (
        batch_response(stored) if body.is_list else single_response(device, valid[0], stored, now)
    )


def _is_allowed_host(request: HttpRequest) -> bool:
    try:
        return bool(request.get_host())
    except DisallowedHost:
        return False
