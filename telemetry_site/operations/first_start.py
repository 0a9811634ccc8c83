"""First start of a new installation: create the administrator and this computer as a device."""

import platform
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.tokens import services as tokens
from common.data_dir import write_private
from devices import services as device_services

ADMINISTRATOR = "admin"


def device_token_file(data_dir: Path) -> Path:
    """Return the path of the token of this computer."""
    return data_dir / "first_device.token"


def bootstrap(*, data_dir: Path, now: datetime) -> None:
    """Without any user, create the administrator, and this computer as their device.

    The administrator has no password, so only a one-time link signs them in.
    """
    with transaction.atomic():
        if User.objects.exists():
            return
        administrator = User.objects.create_superuser(ADMINISTRATOR, "admin@localhost")
        _, secret = device_services.create_device(
            administrator,
            name=platform.node() or "this computer",
            device_type="computer",
            # It sends a reading every 5 s; a command can set a longer interval.
            expected_interval=30,
            metadata={
                "program": "examples/this_computer.py",
                "system": platform.platform(terse=True),
                "commands": ["ping", "report_now", 'set_interval {"seconds": 10}'],
            },
        )
        # Before the commit: without the file the device could never authenticate.
        write_private(device_token_file(data_dir), secret.text)


def admin_without_password() -> User | None:
    """Return the first administrator, or None if any administrator has a password."""
    for user in User.objects.active().filter(is_superuser=True).order_by("created_at"):
        if user.has_usable_password():
            return None
    return User.objects.active().filter(is_superuser=True).order_by("created_at").first()


def sign_in_link(user: User, *, now: datetime) -> str:
    """Return a link that signs this user in once, within an hour."""
    _, secret = tokens.issue(user, scope=tokens.Scope.SIGN_IN, now=now, label="one-time link")
    return f"{settings.PUBLIC_URL}/sign-in/link/{secret.text}"
