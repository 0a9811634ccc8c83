"""Requests with an Idempotency-Key: a repeated request stores the same readings.

A reading with its own time needs no key, because its content identifies it. A reading without a
time gets the server's time. With a key it gets the time of the first request with that key. The
header follows draft-ietf-httpapi-idempotency-key-header.
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
    """Return the time of the first request with this key: `now` if this request is the first.

    Every request counts against the rate limit, because each may add a row that stays for
    RETENTION. Raises InvalidIdempotencyKey, IdempotencyKeyReused, DeviceDeleted, quotas.DiskFull,
    throttling.RateLimitExceeded.
    """
    idempotency_keys.validate_key(key)
    quotas.check_disk()
    digest = blake2b(body, digest_size=16).digest()
    # Committed before the readings. If two requests with this key run at once, both use this time.
    with transaction.atomic(), connection.cursor() as cursor:
        throttling.consume(throttling.idempotency_key_limits(device.pk), now=now)
        try:
            cursor.execute(UPSERT_SQL, [device.pk, key, digest, now])
        except IntegrityError:
            raise DeviceDeleted from None
        received_at, first_digest = cursor.fetchone()
    if bytes(first_digest) != digest:
        raise idempotency_keys.IdempotencyKeyReused
    return received_at  # type: ignore[no-any-return]


def delete_expired(now: datetime) -> int:
    """Delete the records that are older than RETENTION and return their number."""
    return Delivery.objects.filter(received_at__lt=now - RETENTION).delete()[0]


# The update changes nothing. It is needed so that RETURNING gives the existing row, and so that the
# statement waits for a concurrent insert of the same key.
UPSERT_SQL = """
    INSERT INTO telemetry_deliveries AS first (device_id, idempotency_key, body_digest, received_at)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT (device_id, idempotency_key) DO UPDATE SET received_at = first.received_at
    RETURNING received_at, body_digest
"""
