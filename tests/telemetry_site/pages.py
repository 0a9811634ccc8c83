"""Helpers of the tests of pages."""

from django.http import HttpResponse
from django.utils import timezone

from accounts.models import User
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    store_reading,
)

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
HTMX_HEADERS = {"HX-Request": "true"}


def text(answer: HttpResponse) -> str:
    return answer.content.decode()


def admin_path(table: str, end: str = "") -> str:
    """Return the path of a table in the admin, followed by `end`."""
    return f"/admin/{table.replace('.', '/')}/{end}"


def with_unit(number: str, unit: str) -> str:
    return f'{number}<span class="unit">\N{NARROW NO-BREAK SPACE}{unit}</span>'


def create_devices(user: User, devices: int) -> None:
    """Create devices, each with readings of two types and a pending command."""
    for number in range(devices):
        device = DeviceFactory.create(user=user, last_seen_at=timezone.now())
        for kind in ("environment", "power"):
            store_reading(device, telemetry_type=kind, payload={"a": number, "b": "on"})
        CommandFactory.create(device=device)
