"""How devices come, change, get their tokens and go. The only writer of both tables here,
presence apart.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import secrets
from accounts.models import User
from accounts.tokens import revoke
from devices import free_json
from devices.models import Device, DeviceQuerySet, DeviceToken

TOKEN_PREFIX = "tsd"  # noqa: S105 - the beginning of every device token, no token
TOKENS_PER_DEVICE = 10


class TooManyTokens(Exception):
    """The device has as many living tokens as it may have."""


def register(user: User, *, name: str, **fields: Any) -> tuple[Device, secrets.Secret]:
    """Store a new device of the user, with its first token.

    Raises ValidationError, InvalidJSON.
    """
    device = Device(user=user, name=name, **fields)
    _validate(device)
    with transaction.atomic():
        device.save(force_insert=True)
        secret = issue_token(device, label="first")[1]
    return device, secret


def change(device: Device, **fields: Any) -> Device:
    """Store new values of a device's fields; metadata is replaced whole.

    Raises ValidationError, InvalidJSON, Device.DoesNotExist if it was deleted in the meantime.
    """
    fields["updated_at"] = timezone.now()
    for field, value in fields.items():
        setattr(device, field, value)
    _validate(device)
    if not Device.objects.filter(pk=device.pk, deleted_at=None).update(**fields):
        raise Device.DoesNotExist
    return device


def change_owner(devices: Iterable[Device], user: User, *, now: datetime) -> int:
    """Give devices to somebody else, and count them. Their tokens stay as they are: whoever has
    been told one goes on speaking for the device.
    """
    return _living(devices).update(user=user, updated_at=now)


def deactivate(devices: Iterable[Device], *, now: datetime) -> int:
    """Refuse the tokens of devices from the next request on, and count those newly refused.
    Their data stays, and `reactivate` lets them in again.
    """
    return _living(devices).filter(deactivated_at=None).update(deactivated_at=now, updated_at=now)


def reactivate(devices: Iterable[Device], *, now: datetime) -> int:
    """Let deactivated devices in again with the tokens they have, and count them."""
    away = _living(devices).exclude(deactivated_at=None)
    return away.update(deactivated_at=None, updated_at=now)


def decommission_all(devices: Iterable[Device], *, now: datetime) -> int:
    """`decommission` for many at once, in two statements; counts those that were not gone yet."""
    chosen = list(devices)
    with transaction.atomic():
        gone = _living(chosen).update(deleted_at=now, updated_at=now)
        DeviceToken.objects.filter(device__in=chosen, revoked=False).update(revoked=True)
    return gone


def decommission(device: Device, *, now: datetime) -> None:
    """Hide a device and refuse its tokens at once; the worker clears what is left of it."""
    with transaction.atomic():
        Device.objects.filter(pk=device.pk, deleted_at=None).update(deleted_at=now, updated_at=now)
        device.tokens.update(revoked=True)


def forget(device: Device) -> None:
    """Remove a decommissioned device itself, once its readings are gone."""
    Device.objects.exclude(deleted_at=None).filter(pk=device.pk).delete()


def issue_token(device: Device, *, label: str = "") -> tuple[DeviceToken, secrets.Secret]:
    """Store a new token of the device; the secret is in the answer and nowhere else.

    Raises TooManyTokens.
    """
    secret = secrets.make(TOKEN_PREFIX)
    with transaction.atomic():
        # Two issues at once are counted one after the other.
        Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        if device.tokens.filter(revoked=False).count() >= TOKENS_PER_DEVICE:
            raise TooManyTokens
        token = DeviceToken.objects.create(
            device=device, token_hash=secret.digest, prefix=secret.visible, label=label
        )
    return token, secret


def revoke_token(token: DeviceToken) -> None:
    """End a token; the next request with it is refused. Revoking twice is harmless."""
    revoke(token)


def rotate_token(device: Device) -> tuple[DeviceToken, secrets.Secret]:
    """One new token in place of all others, which are refused from now on."""
    with transaction.atomic():
        Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        for token in device.tokens.filter(revoked=False):
            revoke(token)
        return issue_token(device, label="rotated")


def _living(devices: Iterable[Device]) -> DeviceQuerySet:
    return Device.objects.filter(pk__in=[device.pk for device in devices], deleted_at=None)


def _validate(device: Device) -> None:
    if faults := free_json.check_object(
        device.metadata, limit=settings.PAYLOAD_LIMIT, at="/metadata"
    ):
        raise free_json.InvalidJSON(faults)
    device.full_clean(validate_unique=False)
