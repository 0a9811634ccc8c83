"""Retention rules for tests, and a rollup watermark that is up to date."""

from datetime import datetime
from typing import Any

from django.db import connection

from devices.models import Device
from telemetry.models import RetentionRule
from telemetry.retention import rules as retention


def create_rule(
    raw: int | None = None, hour: int | None = None, day: int | None = None, **of: Any
) -> RetentionRule:
    """Create a rule that applies immediately, to a `device`, a `device_type` or everything."""
    rule = RetentionRule.objects.create(raw_days=raw, hour_days=hour, day_days=day, **of)
    retention.cache_rules(retention.RuleSet.read())
    return rule


def set_rolled_up(until: datetime, *, but: dict[Device, datetime] | None = None) -> None:
    """Set the rollup watermark to `until`, with some hours of devices still in the queue."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_rolled_until SET hour = %s", [until])
        cursor.execute("DELETE FROM telemetry_dirty")
        for device, hour in (but or {}).items():
            cursor.execute("INSERT INTO telemetry_dirty VALUES (%s, %s)", [device.pk, hour])
