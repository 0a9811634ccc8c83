"""An owner with a device and one of everything that a path can name."""

from typing import Any

from django.utils import timezone

from devices.models import Device
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    UserFactory,
    device_token,
    device_token_and_row,
    register_key,
    send_to_many,
    session_of,
    store_reading,
    user_token,
    user_token_and_row,
)
from tests.malformed_input.runner import Cast


def make_cast() -> Cast:
    # With an address to be proven, so that its link can be mailed once more.
    owner = UserFactory.create(pending_email="next@example.org")
    device: Device = DeviceFactory.create(user=owner)
    things: dict[str, Any] = {
        "device_id": device.pk,
        "token_id": device_token_and_row(device)[0].pk,
        "user_token_id": user_token_and_row(owner)[0].pk,
        "reading_id": store_reading(device, recorded_at=timezone.now()).pk,
        "command_id": CommandFactory.create(device=device).pk,
        "key": register_key(device),
        "batch_id": send_to_many(device).pk,
        "session_id": session_of(owner).pk,
    }
    tokens = {"deviceToken": device_token(device), "userToken": user_token(owner)}
    return Cast({name: str(value) for name, value in things.items()}, tokens, user_token(owner))
