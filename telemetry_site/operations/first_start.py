"""What a new installation finds: its administrator, and the computer it runs on as a device."""

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
    """Where the token of the computer the site runs on is kept."""
    return data_dir / "first_device.token"


def bootstrap(*, data_dir: Path, now: datetime) -> None:
    """Where there is nobody yet: make the administrator, and this computer a device of theirs.

    The administrator has no password, so nobody can sign in but with a one-time link.
    """
    with transaction.atomic():
        if User.objects.exists():
            return
        administrator = User.objects.create_superuser(ADMINISTRATOR, "admin@localhost")
        _, secret = device_services.create_device(
            administrator,
            name=platform.node() or "this computer",
            device_type="computer",
            # It reports every 5 s, and may be told to do so less often.
            expected_interval=30,
            metadata={
                "program": "examples/this_computer.py",
                "system": platform.platform(terse=True),
                "commands": ["ping", "report_now", 'set_interval {"seconds": 10}'],
            },
        )
        # Before the commit: were the file missing, the device could never speak.
        write_private(device_token_file(data_dir), secret.text)


def admin_without_password() -> User | None:
    """The first administrator, as long as they have no password to sign in with."""
    for user in User.objects.filter(is_superuser=True, is_active=True).order_by("created_at"):
        if user.has_usable_password():
            return None
    return User.objects.filter(is_superuser=True, is_active=True).order_by("created_at").first()


def sign_in_link(user: User, *, now: datetime) -> str:
    """A link that signs this user in once, within the hour."""
    _, secret = tokens.issue(user, scope=tokens.Scope.SIGN_IN, now=now, label="one-time link")
    return f"{settings.PUBLIC_URL}/sign-in/link/{secret.text}"
