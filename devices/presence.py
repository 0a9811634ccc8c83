"""Presence of devices: recorded on each contact, announced when a device goes offline."""

import logging
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from devices import events
from devices.models import LAST_SEEN_PRECISION, Device

logger = logging.getLogger(__name__)

BATCH_SIZE = 1000

MARK_SEEN = """
    UPDATE devices SET last_seen_at = %(now)s, status = 'online'
    WHERE id = %(device)s AND %(contact)s AND (
        last_seen_at IS NULL OR status = 'offline'
        OR last_seen_at < %(now)s - %(contact_precision)s)
"""
"""The statement of `mark_seen`, also used as a part of larger statements. Does nothing unless
`contact` is true.
"""


def mark_seen(device: Device, *, now: datetime) -> None:
    """Record contact with a device, at most once in LAST_SEEN_PRECISION."""
    with connection.cursor() as cursor:
        cursor.execute(MARK_SEEN, mark_seen_params(device, now=now))
        changed = cursor.rowcount
    if changed:
        events.publish_later("status", device_id=device.pk)


def mark_seen_params(device: Device, *, now: datetime, contact: bool = True) -> dict[str, Any]:
    """Return the parameters of MARK_SEEN. Without contact it changes nothing."""
    return {
        "device": device.pk,
        "now": now,
        "contact": contact,
        "contact_precision": LAST_SEEN_PRECISION,
    }


def announce_offline(*, now: datetime) -> list[Device]:
    """Mark devices without recent contact as offline, and return them.

    A transaction marks BATCH_SIZE devices, because all devices go offline together when the
    network fails. Pages and API do not depend on this: `with_presence` computes the status.
    """
    announced: list[Device] = []
    while batch := _announce_batch(now):
        announced += batch
        for device in batch:
            logger.info("device %s is offline, last seen %s", device.pk, device.last_seen_at)
    return announced


def _announce_batch(now: datetime) -> list[Device]:
    overdue = Device.objects.offline(now).filter(status=Device.Status.ONLINE, deleted_at=None)
    with transaction.atomic():
        # A locked row is probably being updated by a request of the device: skip it.
        locked = overdue.order_by("pk").select_for_update(skip_locked=True, no_key=True)
        chosen = list(locked[:BATCH_SIZE])
        ids = [device.pk for device in chosen]
        Device.objects.filter(pk__in=ids).update(status=Device.Status.OFFLINE)
        events.publish([events.Event("status", pk) for pk in ids])
    return chosen
