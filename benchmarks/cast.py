"""The user, the devices and the tokens of the benchmark.

`python -m benchmarks.cast NUMBER NAME` makes them in the database of DATABASE_URL and prints them
as JSON. Every token is new, so that nothing of an earlier run needs to be kept.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from uuid import UUID

from benchmarks.database import environment
from benchmarks.paths import ROOT

DEVICES = 100
"""How many devices send in turn."""


@dataclass(frozen=True)
class Cast:
    """Who speaks to the servers: a user, and devices with their tokens in the same order."""

    user_token: str
    devices: list[UUID]
    tokens: list[str]


def assemble(database: str, devices: int = DEVICES, *, name: str = "sender") -> Cast:
    """The cast of a database; each of its devices is called so, and has a number."""
    command = [sys.executable, "-m", "benchmarks.cast", str(devices), name]
    told = subprocess.run(
        command, cwd=ROOT, env=environment(database), check=True, stdout=subprocess.PIPE
    )
    found = json.loads(told.stdout)
    return Cast(found["user_token"], [UUID(text) for text in found["devices"]], found["tokens"])


def make(devices: int, name: str) -> dict[str, object]:
    """Find or make the user and the devices, and give each a new token."""
    from django.utils import timezone

    from accounts.models import User
    from accounts.tokens import services as tokens
    from devices import services as device_services
    from devices.models import Device
    from telemetry.retention import partitions

    now = timezone.now()
    partitions.ensure_ahead(now)
    user = User.objects.filter(username="bench").first()
    if user is None:
        user = User.objects.create_user("bench", "bench@example.org")
    for number in range(user.devices.filter(name__startswith=f"{name} ").count(), devices):
        device_services.create_device(user, name=f"{name} {number:04}")
    senders = Device.objects.filter(user=user, name__startswith=f"{name} ").order_by("name")
    secrets = [device_services.rotate_token(device, now=now)[1] for device in senders]
    user_token = tokens.issue(user, scope=tokens.Scope.AUTH, now=now)[1]
    return {
        "user_token": user_token.text,
        "devices": [str(device.pk) for device in senders],
        "tokens": [secret.text for secret in secrets],
    }


if __name__ == "__main__":
    import django

    django.setup()
    sys.stdout.write(json.dumps(make(int(sys.argv[1]), sys.argv[2])))
