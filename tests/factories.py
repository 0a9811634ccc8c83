"""Factories of users, devices, tokens, readings and commands."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import factory
import pyotp
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.test import Client
from django.utils import timezone
from factory.django import DjangoModelFactory

from accounts.mfa import services as mfa
from accounts.models import Session, Token, User
from accounts.tokens import services as tokens
from commands.batches import services as batches
from commands.models import Command, CommandBatch, CommandType
from devices import services as device_services
from devices.models import Device, DeviceToken
from telemetry.ingest import storage, validation
from telemetry.keys import registry as keys
from telemetry.models import Telemetry

PASSWORD = "correct horse battery staple"
NOW = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
"""A fixed time in the middle of a month and in the past."""


@cache
def password_hash() -> str:
    return make_password(PASSWORD)


class UserFactory(DjangoModelFactory[User]):
    """A user with the password PASSWORD and a verified e-mail."""

    class Meta:
        model = User

    username = factory.Sequence(lambda n: f"person{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")
    password = factory.LazyFunction(password_hash)
    email_verified_at = NOW


class StaffFactory(UserFactory):
    is_staff = True
    is_superuser = True


def create_devices(user: User, number: int) -> None:
    """Create this number of devices of the user, and update the planner's statistics."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO devices (id, user_id, name, device_type, status, metadata,
                                 expected_interval, created_at, updated_at)
            SELECT gen_random_uuid(), %s, 'device ' || n, 'generic', 'offline', '{}', 60,
                   now(), now()
            FROM generate_series(1, %s) AS n
            """,
            [user.pk, number],
        )
        cursor.execute("ANALYZE devices")


class DeviceFactory(DjangoModelFactory[Device]):
    """A device that was never seen."""

    class Meta:
        model = Device

    user = factory.SubFactory(UserFactory)
    name = factory.Sequence(lambda n: f"device {n}")


class CommandTypeFactory(DjangoModelFactory[CommandType]):
    class Meta:
        model = CommandType

    device_type = "thermostat"
    command_name = factory.Sequence(lambda n: f"command-{n}")
    title = factory.LazyAttribute(lambda kind: kind.command_name.capitalize())


class CommandFactory(DjangoModelFactory[Command]):
    """A pending command, created now by default."""

    class Meta:
        model = Command

    device = factory.SubFactory(DeviceFactory)
    command_name = "reboot"
    status = "pending"
    created_at = factory.LazyFunction(timezone.now)
    expires_at = factory.LazyAttribute(lambda command: command.created_at + timedelta(hours=1))
    finished_at = factory.LazyAttribute(
        lambda command: None if command.status == "pending" else command.created_at
    )


def issue_batch(*devices: Device, **asked: Any) -> CommandBatch:
    """Issue a batch to these devices as the owner of the first one."""
    given = {"command_name": "reboot", "payload": {}, "now": timezone.now(), **asked}
    return batches.create_batch(devices, issued_by=devices[0].user, **given)


def user_token(user: User, *, now: datetime | None = None) -> str:
    """Return the plaintext of a new API token of the user."""
    return user_token_and_row(user, now=now)[1]


def user_token_and_row(user: User, *, now: datetime | None = None) -> tuple[Token, str]:
    token, secret = tokens.issue(user, scope=Token.Scope.AUTH, now=now or timezone.now())
    return token, secret.text


def enable_mfa(user: User, *, now: datetime) -> pyotp.TOTP:
    """Enable MFA of the user with the code of this time and return the authenticator."""
    seed = mfa.new_seed()
    totp = mfa.build_totp(seed, user)
    mfa.enable(user, seed=seed, code=totp.at(now), now=now)
    return totp


def create_session(user: User) -> Session:
    """Sign the user in with a new client and return the session."""
    client = Client()
    client.force_login(user)
    return Session.objects.filter(user=user).latest("created_at")


def device_token(device: Device) -> str:
    """Return the plaintext of a new token of the device."""
    return device_token_and_row(device)[1]


def device_token_and_row(device: Device) -> tuple[DeviceToken, str]:
    token, secret = device_services.issue_token(device)
    return token, secret.text


def make_reading(
    device: Device | UUID,
    *,
    recorded_at: datetime = NOW,
    telemetry_type: str = "environment",
    payload: dict[str, Any] | None = None,
) -> validation.ParsedReading:
    """Build a reading without storing it."""
    device_id = device if isinstance(device, UUID) else device.pk
    given = {"temperature": 21.5} if payload is None else payload
    return validation.build_reading(device_id, telemetry_type, given, recorded_at)


def store_readings(device: Device, *, payloads: Iterable[dict[str, Any]], **given: Any) -> None:
    """Store a reading for each payload, one per second from `recorded_at` on."""
    first = given.pop("recorded_at", NOW)
    storage.store(
        device,
        [
            make_reading(
                device, payload=payload, recorded_at=first + timedelta(seconds=number), **given
            )
            for number, payload in enumerate(payloads)
        ],
        now=timezone.now(),
    )


def store_reading(device: Device, **given: Any) -> Telemetry:
    """Store one reading built with `make_reading` and return its row."""
    reading = make_reading(device, **given)
    storage.store(device, [reading], now=timezone.now())
    return Telemetry.objects.get(device=device, recorded_at=reading.recorded_at, id=reading.id)


def register_key(
    device: Device, name: str = "environment.temperature", *, recorded_at: datetime = NOW
) -> str:
    """Register a key of the device, as ingest does for each reading, and return its name."""
    kind, _, path = name.partition(".")
    keys.register_keys(device, [(kind, (path,), recorded_at)])
    return name
