"""An owner with a device, and one object for every id in a path."""

from typing import Any

from django.utils import timezone

from devices.models import Device
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    UserFactory,
    create_session,
    device_token,
    device_token_and_row,
    issue_batch,
    register_key,
    store_reading,
    user_token,
    user_token_and_row,
)
from tests.malformed_input.runner import Cast


def make_cast() -> Cast:
    # The pending e-mail address allows the endpoint that resends a verification link.
    owner = UserFactory.create(pending_email="next@example.org")
    device: Device = DeviceFactory.create(user=owner)
    things: dict[str, Any] = {
        "device_id": device.pk,
        "token_id": device_token_and_row(device)[0].pk,
        "user_token_id": user_token_and_row(owner)[0].pk,
        "reading_id": store_reading(device, recorded_at=timezone.now()).pk,
        "command_id": CommandFactory.create(device=device).pk,
        "key": register_key(device),
        "batch_id": issue_batch(device).pk,
        "session_id": create_session(owner).pk,
    }
    tokens = {"deviceToken": device_token(device), "userToken": user_token(owner)}
    return Cast({name: str(value) for name, value in things.items()}, tokens, user_token(owner))
