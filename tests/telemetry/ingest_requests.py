"""The paths and the bodies of requests that send readings."""

from datetime import timedelta

from common import timestamps
from tests.factories import NOW

OWN_PATH = "/api/v1/device/telemetry"
READING = {
    "telemetry_type": "environment",
    "payload": {"temperature": 21.5},
    "recorded_at": "2025-06-15T11:00:00Z",
}


def telemetry_path(device, rest=""):
    return f"/api/v1/devices/{device.pk}/telemetry{rest}"


def reading_after(number):
    return {**READING, "recorded_at": timestamps.format_timestamp(NOW + timedelta(seconds=number))}
