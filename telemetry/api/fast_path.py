"""The fast path for ingest: one or a few readings from a device whose token is in the cache.

Most requests are of this kind. One SQL statement checks the token and stores the readings; Django
REST framework and the rest of the middleware are skipped. All other requests take the normal path.
Only the normal path rejects requests.
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
"""For a larger body, the time that the fast path saves is only a small part."""
SLOW_PATH_HEADERS = ("HTTP_CONTENT_ENCODING", "HTTP_IDEMPOTENCY_KEY", "HTTP_TRANSFER_ENCODING")
BEARER = f"Bearer {TOKEN_PREFIX}_"


def try_fast_path(request: HttpRequest) -> HttpResponse | None:
    """Store the readings and return the response, or return None if the normal path must do it."""
    meta = request.META
    length = meta.get("CONTENT_LENGTH") or "0"
    authorization = meta.get("HTTP_AUTHORIZATION", "")
    if (
        request.path_info != PATH
        or request.method != "POST"
        or meta.get("CONTENT_TYPE") != "application/json"
        or not authorization.startswith(BEARER)
        or int(length) > MAX_BODY_BYTES
        or any(header in meta for header in SLOW_PATH_HEADERS)
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
