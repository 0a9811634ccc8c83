"""What is stored of a device, and a file of readings brought in again."""

import io
from datetime import UTC

from django.db import connection

from telemetry import import_file, importing
from tests.factories import NOW

FORMATS = ["csv", "ndjson"]


def import_into(device, content):
    file = io.BytesIO(content)
    rows = import_file.rows(
        file,
        layout=import_file.layout_of(file),
        device_id=device.pk,
        telemetry_type="",
        zone=UTC,
        now=NOW,
    )
    return importing.bring_in(device, rows)


def stored(device):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recorded_at, id, telemetry_type, payload::text FROM telemetry"
            " WHERE device_id = %s ORDER BY recorded_at, id",
            [device.pk],
        )
        return cursor.fetchall()
