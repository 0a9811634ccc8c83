"""Rules of retention for tests, and a worker that has caught up."""

from datetime import datetime
from typing import Any

from django.db import connection

from devices.models import Device
from telemetry.models import RetentionRule
from telemetry.retention import rules as retention


def keep(
    raw: int | None = None, hour: int | None = None, day: int | None = None, **of: Any
) -> RetentionRule:
    """A rule that is gone by at once; of a `device` or a `device_type`, else of all."""
    rule = RetentionRule.objects.create(raw_days=raw, hour_days=hour, day_days=day, **of)
    retention.cache_rules(retention.RuleSet.read())
    return rule


def rolled_up(until: datetime, *, but: dict[Device, datetime] | None = None) -> None:
    """As if the worker had made all rollups up to then, but for some late hours of devices."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_rolled_until SET hour = %s", [until])
        cursor.execute("DELETE FROM telemetry_dirty")
        for device, hour in (but or {}).items():
            cursor.execute("INSERT INTO telemetry_dirty VALUES (%s, %s)", [device.pk, hour])
