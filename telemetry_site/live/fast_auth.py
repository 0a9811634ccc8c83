"""A device that comes again to wait, as most do every half a minute: known in one statement.

It is contact with the device, and the only one of its writes that a crash may forget, so that
thousands who come at once do not all wait for the disk.
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


class Arrival(NamedTuple):
    """A device that has come to wait, and the user who owns it now."""

    device: Device
    owner_id: UUID


def authenticate_cached_device(request: HttpRequest) -> Arrival | None:
    """The device whose token came with the request, if that lives and was known a while ago."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    digest, now = sha256(secret.encode("latin-1")).digest(), timezone.now()
    token = get_cached_token(digest, now=now) if kind == "Bearer" else None
    if token is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_arrive(), mark_seen_params(token.device, now=now) | {"digest": digest})
        row = cursor.fetchone()
    if row is None:
        return None
    seen, owner_id = row
    if seen:
        events.publish_later("status", device_id=token.device_id)
    return Arrival(token.device, owner_id)


@cache
def _arrive() -> str:
    return f"""
        WITH living AS MATERIALIZED (SELECT FROM ({active_token_query().sql}) AS token),
        seen AS ({MARK_SEEN} AND EXISTS (SELECT FROM living) RETURNING id)
        SELECT (SELECT count(*) FROM seen), (SELECT user_id FROM devices WHERE id = %(device)s)
        FROM living, set_config('synchronous_commit', 'off', true)
    """  # noqa: S608 - put together of constants
