"""Rollups for tests: the queue that ingest fills, and the expected rows."""

from collections import defaultdict

from django.db import connection

from telemetry.models import Key
from telemetry.rollups.build import HOUR, floor
from tests.factories import NOW


def set_rollup_watermark(hour):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM telemetry_dirty")
        cursor.execute("UPDATE telemetry_rolled_until SET hour = %s", [hour])


def create_keys(device, *keys):
    for key in keys:
        telemetry_type, _, path = key.partition(".")
        Key.objects.get_or_create(
            device=device, telemetry_type=telemetry_type, key=path, defaults={"since": NOW}
        )


def enqueue_hours(device, times):
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO telemetry_dirty VALUES (%s, %s)",
            [(device.pk, floor(time, HOUR)) for time in times],
        )


def empty_queue():
    """Empty the queue, to show which hours are rolled up again only because they are in the
    queue.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM telemetry_dirty")


def queue_size():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM telemetry_dirty")
        return cursor.fetchone()[0]


def number(value):
    if isinstance(value, bool | int | float):
        return float(value)
    return None


def brute_force(values, unit):
    """Return by bucket the count, sum, min and max of pairs of a time and a value."""
    buckets = defaultdict(list)
    for at, value in values:
        if number(value) is not None:
            buckets[floor(at, unit)].append(number(value))
    return {bucket: (len(v), sum(v), min(v), max(v)) for bucket, v in buckets.items()}


def stored_rollups(model, device, key):
    telemetry_type, _, path = key.partition(".")
    rows = model.objects.filter(device=device, telemetry_type=telemetry_type, key=path)
    return {row.bucket: (row.count, row.sum, row.min, row.max) for row in rows}
