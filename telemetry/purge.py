"""How the readings of a deleted device go: in batches, while others go on sending."""

import logging

from django.db import connection

from devices import enrolment
from devices.models import Device

logger = logging.getLogger(__name__)

BATCH = 10_000


def purge_deleted() -> int:
    """Remove every decommissioned device with its readings, and count the readings."""
    removed = 0
    for device in Device.objects.exclude(deleted_at=None):
        removed += purge(device)
    return removed


def purge(device: Device) -> int:
    """Remove a decommissioned device's readings, then itself, and count the readings."""
    removed = 0
    while batch := _delete_batch(device):
        removed += batch
    enrolment.forget(device)
    logger.info("purged device %s with %d readings", device.pk, removed)
    return removed


def _delete_batch(device: Device) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM telemetry USING (
                SELECT recorded_at, id FROM telemetry WHERE device_id = %(device)s
                ORDER BY recorded_at, id LIMIT %(batch)s
            ) AS oldest
            WHERE telemetry.device_id = %(device)s
                AND (telemetry.recorded_at, telemetry.id) = (oldest.recorded_at, oldest.id)
            """,
            {"device": device.pk, "batch": BATCH},
        )
        return int(cursor.rowcount)
