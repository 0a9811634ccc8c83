"""Create many devices of one type for staff: `python -m tests.e2e.fleet`.

Run it next to a running site, with the site's DATA_DIR and PORT. It prints as JSON the token and
the name of one device, and the session cookie of the administrator.
"""

import json
import os
import sys
from datetime import timedelta

COUNT = 55


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    django.setup()
    from django.conf import settings
    from django.utils import timezone

    from accounts.models import User
    from commands.models import CommandType
    from devices import services as device_services
    from telemetry.ingest import storage
    from telemetry.ingest.validation import build_reading
    from tests.e2e.seed import create_session

    owner, now = User.objects.get(username="admin"), timezone.now()
    CommandType.objects.create(
        device_type="pump",
        command_name="set_speed",
        title="Set the speed",
        payload_schema={
            "type": "object",
            "required": ["rpm"],
            "properties": {"rpm": {"type": "integer", "title": "Speed", "maximum": 3000}},
        },
    )
    made = [
        device_services.create_device(
            owner,
            name=f"Pump {number:02}",
            device_type="pump",
            metadata={"rack": {"serial": f"BX-{1000 + number}"}},
        )
        for number in range(COUNT)
    ]
    device, secret = made[7]
    payloads = [{"rpm": 900 + number} for number in range(50)]
    readings = [
        build_reading(device.pk, "drive", payload, now - timedelta(minutes=50 - number))
        for number, payload in enumerate(payloads)
    ]
    storage.store(device, readings, now=now)
    cookie = {"name": settings.SESSION_COOKIE_NAME, "value": create_session(owner)}
    told = {"token": secret.text, "name": device.name, "cookie": cookie}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
