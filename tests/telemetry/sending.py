"""Where readings are sent and asked for over the API, and what is sent there."""

from datetime import timedelta

from common import timestamps
from tests.factories import NOW

OWN = "/api/v1/device/telemetry"
READING = {
    "telemetry_type": "environment",
    "payload": {"temperature": 21.5},
    "recorded_at": "2025-06-15T11:00:00Z",
}


def of(device, rest=""):
    return f"/api/v1/devices/{device.pk}/telemetry{rest}"


def one_more(number):
    return {**READING, "recorded_at": timestamps.format_timestamp(NOW + timedelta(seconds=number))}
