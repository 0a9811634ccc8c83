"""Contact with devices: noted when they speak, announced when they fall silent."""

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
"""`mark_seen` as a part of a larger statement, where `contact` is true."""


def mark_seen(device: Device, *, now: datetime) -> None:
    """Note contact with a device, to a precision of CONTACT_PRECISION."""
    with connection.cursor() as cursor:
        cursor.execute(MARK_SEEN, mark_seen_params(device, now=now))
        noted = cursor.rowcount
    if noted:
        events.publish_later("status", device_id=device.pk)


def mark_seen_params(device: Device, *, now: datetime, contact: bool = True) -> dict[str, Any]:
    """What MARK_SEEN is executed with; without contact it does nothing."""
    return {
        "device": device.pk,
        "now": now,
        "contact": contact,
        "contact_precision": LAST_SEEN_PRECISION,
    }


def announce_offline(*, now: datetime) -> list[Device]:
    """Mark devices offline that have fallen silent, and return them; ANNOUNCED_AT_ONCE of them in
    a transaction, as all of them fall silent at once when the network goes.

    What is shown never depends on this: `with_presence` works it out anew each time.
    """
    announced: list[Device] = []
    while silent := _announce(now):
        announced += silent
        for device in silent:
            logger.info("device %s is offline, last seen %s", device.pk, device.last_seen_at)
    return announced


def _announce(now: datetime) -> list[Device]:
    silent = Device.objects.offline(now).filter(status=Device.Status.ONLINE, deleted_at=None)
    with transaction.atomic():
        # Whoever is held by somebody else is most likely just being heard of.
        held = silent.order_by("pk").select_for_update(skip_locked=True, no_key=True)
        chosen = list(held[:BATCH_SIZE])
        ids = [device.pk for device in chosen]
        Device.objects.filter(pk__in=ids).update(status=Device.Status.OFFLINE)
        events.publish([events.Event("status", pk) for pk in ids])
    return chosen
