"""Create, change, transfer and delete devices, and issue their tokens. Only this module and
`presence` write to the tables of devices and their tokens.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.audit import log as audit
from accounts.models import User, active_tokens
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from accounts.tokens.services import InvalidToken, revoke
from common import quotas, strict_json
from devices.models import Device, DeviceToken, DeviceTokenQuerySet

TOKEN_PREFIX = "tsd"  # noqa: S105 - the prefix of every device token
ROTATION_GRACE = timedelta(hours=1)
"""How long the old token works after the first use of the new one: the device may run several
programs, and a request with the old token may be in transit.
"""
AUDITED_FIELDS = ("name", "device_type", "expected_interval", "metadata")
"""Fields that the audit trail records of a new device."""


class TooManyTokens(Exception):
    """The device has reached the limit of active tokens."""


def create_device(
    user: User, *, name: str, **fields: Any
) -> tuple[Device, token_format.PlaintextToken]:
    """Store a new device of the user, with its first token.

    Raises ValidationError, InvalidJSONValue, quotas.QuotaReached.
    """
    device = Device(user=user, name=name, **fields)
    _validate(device)
    with transaction.atomic():
        _check_quota(user)
        device.save(force_insert=True)
        secret = _issue(device, label="first")[1]
        values = {field: getattr(device, field) for field in AUDITED_FIELDS}
        audit.record("device.created", target=device, after=values)
    return device, secret


def _check_quota(user: User, *, more: int = 1) -> None:
    """Raise QuotaReached unless the user may have this many more devices. The user's row is locked,
    so that concurrent requests cannot exceed the limit.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    current = Device.objects.filter(user=user, deleted_at=None).count()
    quotas.check_quota("DEVICES_PER_USER", current + more - 1)


def update_device(device: Device, **fields: Any) -> Device:
    """Store new values of a device's fields. New metadata replaces all old metadata.

    Raises ValidationError, InvalidJSONValue, Device.DoesNotExist.
    """
    for field, value in fields.items():
        setattr(device, field, value)
    _validate(device)
    device.updated_at = timezone.now()
    with transaction.atomic():
        before = _lock(device)
        Device.objects.filter(pk=device.pk).update(**fields, updated_at=device.updated_at)
        audit.record(
            "device.changed",
            target=device,
            before={field: _audit_value(getattr(before, field)) for field in fields},
            after={field: _audit_value(value) for field, value in fields.items()},
            now=device.updated_at,
        )
    return device


def transfer(
    devices: Iterable[Device], user: User, *, now: datetime, revoke_tokens: bool = False
) -> int:
    """Transfer devices to another user, and return how many did not belong to this user yet.

    Tokens that were never used are revoked: no device needs them, and the old owner may know them.
    The others are revoked if `revoke_tokens` is true; otherwise the devices continue to use them,
    and the old owner can use a token that they have saved. Raises quotas.QuotaReached.
    """
    with transaction.atomic():
        transferred = _lock_devices(devices, ~Q(user=user))
        if transferred:
            _check_quota(user, more=len(transferred))
        _update(transferred, user=user, updated_at=now)
        active = DeviceToken.objects.filter(device__in=transferred, revoked=False)
        for token in active if revoke_tokens else active.filter(last_used_at=None):
            revoke(token)
        for device in transferred:
            before, device.user = device.user, user
            audit.record(
                "device.given",
                target=device,
                before={"user": str(before)},
                after={"user": str(user)},
                now=now,
            )
    return len(transferred)


def deactivate(devices: Iterable[Device], *, now: datetime) -> int:
    """Deactivate devices and return how many were active. Their tokens are rejected from the next
    request on. Their data stays, and `reactivate` enables the tokens again.
    """
    with transaction.atomic():
        deactivated = _lock_devices(devices, Q(deactivated_at=None))
        _update(deactivated, deactivated_at=now, updated_at=now)
        _record_each("device.deactivated", deactivated, now=now)
    return len(deactivated)


def reactivate(devices: Iterable[Device], *, now: datetime) -> int:
    """Reactivate deactivated devices and return their number. Their tokens work again."""
    with transaction.atomic():
        reactivated = _lock_devices(devices, Q(deactivated_at__isnull=False))
        _update(reactivated, deactivated_at=None, updated_at=now)
        _record_each("device.reactivated", reactivated, now=now)
    return len(reactivated)


def soft_delete(*devices: Device, now: datetime) -> int:
    """Hide devices and revoke their tokens at once; return how many were not deleted before. The
    worker deletes their data later.
    """
    with transaction.atomic():
        owners = {device.pk: device.user_id for device in devices}
        # Leave out devices that were transferred after the caller read them.
        deleted = [one for one in _lock_devices(devices) if one.user_id == owners[one.pk]]
        _update(deleted, deleted_at=now, updated_at=now)
        DeviceToken.objects.filter(device__in=deleted, revoked=False).update(revoked=True)
        _record_each("device.decommissioned", deleted, now=now)
    return len(deleted)


def soft_delete_all(user: User, *, now: datetime) -> None:
    """Soft-delete all devices of a user, without entries in the audit trail."""
    with transaction.atomic():
        active = Device.objects.filter(user=user, deleted_at=None)
        deleted = list(active.select_for_update(no_key=True).values_list("pk", flat=True))
        Device.objects.filter(pk__in=deleted).update(deleted_at=now, updated_at=now)
        DeviceToken.objects.filter(device__in=deleted).update(revoked=True)


def hard_delete(device: Device) -> None:
    """Delete the row of a soft-deleted device, after its readings were deleted."""
    with transaction.atomic():
        if Device.objects.exclude(deleted_at=None).filter(pk=device.pk).delete()[0]:
            audit.record("device.purged", target=device)


def issue_token(
    device: Device, *, label: str = ""
) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """Store a new token of the device. Only the return value contains the secret.

    Raises TooManyTokens, Device.DoesNotExist.
    """
    with transaction.atomic():
        token, secret = _issue(device, label=label)
        audit.record("token.issued", target=token, after={"device": device.name, "label": label})
    return token, secret


def revoke_token(token: DeviceToken) -> None:
    """Revoke a token: the next request with it is rejected. Revoking twice is harmless."""
    revoke(token)


def rotate_token(
    device: Device, *, now: datetime
) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """Replace all tokens with one new token. The token that the device uses stays active until
    ROTATION_GRACE after the first use of the new one; see `rotate_one_token`.
    """
    with transaction.atomic():
        _lock(device)
        last_used_first = F("last_used_at").desc(nulls_last=True)
        in_use = _active_tokens(device, now).order_by(last_used_first, "-created_at").first()
        if in_use is None:
            token, secret = _issue(device, label="rotated")
            audit.record("device.rotated", target=device, after={"new": str(token)}, now=now)
            return token, secret
        in_use = _token_in_use(in_use, now)
        for token in device.tokens.filter(active_tokens(now)).exclude(pk=in_use.pk):
            revoke(token)
        return rotate_one_token(in_use, now=now)


def rotate_one_token(
    token: DeviceToken, *, now: datetime
) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """Replace a token with a new one. The old token stays active until ROTATION_GRACE after the
    first use of the new one, so that a device that never receives the new one is not locked out.
    The token that the old one replaced and an earlier, unused replacement are revoked now.

    Raises InvalidToken if the token is not active or expires because its replacement was used,
    Device.DoesNotExist.
    """
    with transaction.atomic():
        _lock(token.device)
        old = _active_tokens(token.device, now).filter(pk=token.pk).first()
        if old is None:
            raise InvalidToken
        old = _token_in_use(old, now)
        for other in token.device.tokens.filter(Q(replaced_by=old) | Q(pk=old.replaced_by_id)):
            revoke(other)
        new, secret = _issue(token.device, label=old.label or "rotated")
        DeviceToken.objects.filter(pk=old.pk).update(replaced_by=new)
        names = {"old": str(old), "new": str(new)}
        audit.record("device.rotated", target=token.device, after=names, now=now)
    return new, secret


def _token_in_use(token: DeviceToken, now: datetime) -> DeviceToken:
    """Return the token, or before its first use the token that it replaces, because the device may
    never have received the new one.
    """
    if token.last_used_at is not None:
        return token
    return _active_tokens(token.device, now).filter(replaced_by=token).first() or token


def record_token_use(token: DeviceToken, *, now: datetime) -> None:
    """Record the use of a token. The first use of a token that replaces another one lets the old
    one expire after ROTATION_GRACE.
    """
    if token.last_used_at is None:
        expires_at = now + ROTATION_GRACE
        DeviceToken.objects.filter(active_tokens(expires_at), replaced_by=token.pk).update(
            expires_at=expires_at
        )
    tokens.record_use(token, now=now)


def _active_tokens(device: Device, now: datetime) -> DeviceTokenQuerySet:
    """Return the active tokens, without those whose replacement was already used."""
    return device.tokens.filter(active_tokens(now)).exclude(replaced_by__last_used_at__isnull=False)


def _issue(device: Device, *, label: str) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """Store a new token in a transaction. Raises TooManyTokens, Device.DoesNotExist."""
    secret = token_format.generate(TOKEN_PREFIX)
    _lock(device)  # Therefore concurrent requests cannot exceed the limit.
    if device.tokens.filter(active_tokens(timezone.now())).count() >= settings.TOKENS_PER_DEVICE:
        raise TooManyTokens
    token = DeviceToken.objects.create(
        device=device, token_hash=secret.digest, prefix=secret.display_prefix, label=label
    )
    return token, secret


def _lock(device: Device) -> Device:
    """Lock and return the row. Raises Device.DoesNotExist if it was deleted or has a new owner."""
    same = Device.objects.filter(pk=device.pk, user=device.user_id, deleted_at=None)
    return same.select_for_update(no_key=True).get()


def _audit_value(value: Any) -> Any:
    """Return a field's value for the audit trail: of users the name."""
    return str(value) if isinstance(value, User) else value


def _lock_devices(devices: Iterable[Device], *conditions: Q) -> list[Device]:
    """Lock and return the active devices that satisfy the conditions, ordered by id to avoid
    deadlocks.
    """
    matching = Device.objects.filter(
        *conditions, pk__in=[device.pk for device in devices], deleted_at=None
    )
    locked = matching.order_by("pk").select_for_update(no_key=True, of=("self",))
    return list(locked.select_related("user"))


def _update(devices: list[Device], **fields: Any) -> None:
    Device.objects.filter(pk__in=[device.pk for device in devices]).update(**fields)


def _record_each(action: str, devices: list[Device], *, now: datetime) -> None:
    for device in devices:
        audit.record(action, target=device, now=now)


def _validate(device: Device) -> None:
    if faults := strict_json.validate_object(
        device.metadata, limit=settings.PAYLOAD_LIMIT, at="/metadata"
    ):
        raise strict_json.InvalidJSONValue(faults)
    device.full_clean(validate_unique=False)
