"""Create a demo site full of devices: `python -m tests.e2e.seed`.

Run it next to a running site, with the site's DATA_DIR and PORT. It prints as JSON the ids of the
devices by name and the session cookie of their owner. The users in OTHERS have no session and no
device.
"""

import json
import os
import sys
from datetime import datetime, timedelta
from math import pi, sin
from random import Random
from typing import Any

HOSTILE = "</script><img src=x onerror=alert(1)> \N{RIGHT-TO-LEFT OVERRIDE}مرحبا 🌡️ "
HOSTILE_NAME = HOSTILE + "x" * (200 - len(HOSTILE))
"""The longest name that is valid."""
KINDS = {
    "Greenhouse, north end": ("climate", 21.5, timedelta(seconds=20)),
    "Cold store": ("climate", 4.2, timedelta(seconds=50)),
    "Attic": ("climate", 26.0, timedelta(hours=5)),
    "Cellar": ("climate", 12.5, timedelta(seconds=35)),
    "Workshop": ("climate", 18.0, timedelta(seconds=5)),
    HOSTILE_NAME: ("</script><b>", 19.0, timedelta(minutes=1)),
}
"""By device name: the telemetry type, the temperature, and the time since the last reading."""
STEP = timedelta(minutes=2)
OTHERS = ("nora", "otto")
PASSWORD = "correct horse battery staple"


def climate(moment: datetime, chance: Random, *, warm: float) -> dict[str, Any]:
    """Return the values that a room measures at a time of the day."""
    day = sin(2 * pi * (moment.hour * 60 + moment.minute - 540) / 1440)
    return {
        "temperature": round(warm + 3.5 * day + chance.gauss(0, 0.15), 2),
        "humidity": round(58 - 9 * day + chance.gauss(0, 0.8), 1),
        "co2": round(640 + 180 * max(0, day) + chance.gauss(0, 14)),
        "battery_voltage": round(3.71 + chance.gauss(0, 0.004), 3),
    }


def fill(device: Any, *, days: float, until: datetime, warm: float = 21.0) -> None:
    """Store a reading every STEP over `days` days, with a gap of some hours."""
    from django.utils import timezone

    from telemetry.ingest import storage
    from telemetry.ingest.validation import build_reading
    from telemetry.retention import partitions
    from telemetry.rollups import build as rollups

    chance, now = Random(device.name), timezone.now()
    start = until - timedelta(days=days)
    silent = (until - timedelta(hours=17), until - timedelta(hours=14, minutes=20))
    moments = [start + number * STEP for number in range(int(timedelta(days=days) / STEP) + 1)]
    readings = [
        build_reading(device.pk, "climate", climate(moment, chance, warm=warm), moment)
        for moment in moments
        if not silent[0] < moment < silent[1]
    ]
    first = partitions.month_of(start)
    months = [first, partitions.month_after(first)]
    partitions.ensure([*months, partitions.month_after(months[1])], now=now)
    for begin in range(0, len(readings), 1000):
        storage.store(device, readings[begin : begin + 1000], now=now)
    closed = rollups.floor(now, rollups.HOUR)
    rollups.rebuild(device, rollups.floor(start, rollups.HOUR), closed)


def create_session(user: Any) -> str:
    """Create a session of the user and return its key."""
    from django.conf import settings
    from django.contrib import auth

    from accounts.sessions.store import SessionStore

    session = SessionStore()
    session[auth.SESSION_KEY] = str(user.pk)
    session[auth.BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def create_users(now: datetime) -> Any:
    """Create the users in OTHERS and return the owner of all devices."""
    from accounts.models import User

    owner = User.objects.get(username="admin")
    owner.set_password(PASSWORD)
    owner.save()
    for name in OTHERS:
        User.objects.create_user(
            name, f"{name}@house.example", PASSWORD, is_staff=True, email_verified_at=now
        )
    return owner


def create_devices(owner: Any, now: datetime) -> dict[str, str]:
    """Create the devices and return their ids by name."""
    from devices import services as device_services
    from devices.models import Device

    found = {}
    for name, (kind, warm, silence) in KINDS.items():
        device, _ = device_services.create_device(
            owner,
            name=name,
            device_type=kind,
            expected_interval=120,
            metadata={"room": name[:40], "firmware": "1.4.2"},
        )
        fill(device, days=9 if warm == 21.5 else 2, until=now - silence, warm=warm)
        Device.objects.filter(pk=device.pk).update(last_seen_at=now - silence)
        found[name] = str(device.pk)
    never, _ = device_services.create_device(owner, name="Mast", device_type="weather", metadata={})
    return found | {"Mast": str(never.pk)}


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    django.setup()
    from django.conf import settings
    from django.utils import timezone

    from commands import services as command_services
    from devices.models import Device

    now = timezone.now().replace(microsecond=0)
    owner = create_users(now)
    found = create_devices(owner, now)
    greenhouse = Device.objects.get(pk=found["Greenhouse, north end"])
    for command in ("open_vents", "set_target"):
        command_services.create_command(
            greenhouse,
            command_name=command,
            payload={"celsius": 21.5},
            issued_by=owner,
            now=now,
        )
    cookie = {"name": settings.SESSION_COOKIE_NAME, "value": create_session(owner)}
    sys.stdout.write(json.dumps({"devices": found, "cookie": cookie}))


if __name__ == "__main__":
    main()
