"""Authenticate a device whose token is in the cache, in one SQL statement.

Most devices start a new long poll every 30 seconds. The statement also stores the contact with the
device. It is the only write for a device with asynchronous commit: a crash may lose it, but
thousands of devices that reconnect at the same time do not wait for the disk.
"""

from functools import cache
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from devices import events
from devices.authentication import active_token_query, get_cached_token
from devices.models import Device
from devices.presence import MARK_SEEN, mark_seen_params


class AuthenticatedDevice(NamedTuple):
    """The device of a request and the user who owns it now."""

    device: Device
    owner_id: UUID


def authenticate_cached_device(request: HttpRequest) -> AuthenticatedDevice | None:
    """Return the device of the token, or None if the token is not cached or no longer active."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    digest, now = sha256(secret.encode("latin-1")).digest(), timezone.now()
    token = get_cached_token(digest, now=now) if kind == "Bearer" else None
    if token is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            _authenticate_sql(), mark_seen_params(token.device, now=now) | {"digest": digest}
        )
        row = cursor.fetchone()
    if row is None:
        return None
    seen, owner_id = row
    if seen:
        events.publish_later("status", device_id=token.device_id)
    return AuthenticatedDevice(token.device, owner_id)


@cache
def _authenticate_sql() -> str:
    return f"""
        WITH active AS MATERIALIZED (SELECT FROM ({active_token_query().sql}) AS token),
        seen AS ({MARK_SEEN} AND EXISTS (SELECT FROM active) RETURNING id)
        SELECT (SELECT count(*) FROM seen), (SELECT user_id FROM devices WHERE id = %(device)s)
        FROM active, set_config('synchronous_commit', 'off', true)
    """  # noqa: S608 - built from constants
