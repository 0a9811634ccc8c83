"""The stored readings of a device, and the import of a file."""

import io
from datetime import UTC

from django.db import connection

from telemetry.transfer import import_batches, import_layout, import_parser
from tests.factories import NOW

FORMATS = ["csv", "ndjson"]


def import_into(device, content):
    file = io.BytesIO(content)
    rows = import_parser.parse_rows(
        file,
        layout=import_layout.detect_layout(file),
        device_id=device.pk,
        telemetry_type="",
        zone=UTC,
        now=NOW,
    )
    return import_batches.import_rows(device, rows)


def stored_rows(device):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recorded_at, id, telemetry_type, payload::text FROM telemetry"
            " WHERE device_id = %s ORDER BY recorded_at, id",
            [device.pk],
        )
        return cursor.fetchall()
