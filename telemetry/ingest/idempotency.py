"""Requests that carry an Idempotency-Key: sent again, their readings mean the same.

A reading with a time of its own needs none of this, for it is known by what it says. One without
gets the server's time, and with a key it gets the time of the first delivery (the header is that
of draft-ietf-httpapi-idempotency-key-header).
"""

from datetime import datetime, timedelta
from hashlib import blake2b

from django.db import IntegrityError, connection, transaction

from accounts import throttling
from common import quotas
from common.api import idempotency_keys
from devices.models import Device
from telemetry.ingest.storage import DeviceDeleted
from telemetry.models import Delivery

RETENTION = timedelta(days=2)


def get_or_record_receipt(device: Device, key: str, body: bytes, *, now: datetime) -> datetime:
    """When this was first delivered: `now`, unless it has been before.

    Each request counts, as each may leave a row for KEPT_FOR. Raises InvalidIdempotencyKey,
    IdempotencyKeyReused, DeviceGone, quotas.DiskFull, throttles.TooManyTries.
    """
    idempotency_keys.validate_key(key)
    quotas.check_disk()
    digest = blake2b(body, digest_size=16).digest()
    # Committed before the readings are: whoever brings them, they get this time.
    with transaction.atomic(), connection.cursor() as cursor:
        throttling.consume(throttling.of_idempotency_key(device.pk), now=now)
        try:
            cursor.execute(UPSERT_SQL, [device.pk, key, digest, now])
        except IntegrityError:
            raise DeviceDeleted from None
        received_at, first_digest = cursor.fetchone()
    if bytes(first_digest) != digest:
        raise idempotency_keys.IdempotencyKeyReused
    return received_at  # type: ignore[no-any-return]


def delete_expired(now: datetime) -> int:
    """Forget the keys that nobody sends again any more, and count them."""
    return Delivery.objects.filter(received_at__lt=now - RETENTION).delete()[0]


# The row is written again as it is: only so is it returned, and waited for while it is new.
UPSERT_SQL = """
    INSERT INTO telemetry_deliveries AS first (device_id, idempotency_key, body_digest, received_at)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT (device_id, idempotency_key) DO UPDATE SET received_at = first.received_at
    RETURNING received_at, body_digest
"""
