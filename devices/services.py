"""How devices come, change, get their tokens and go. The only writer of both tables here,
presence apart.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.audit import log as audit
from accounts.models import User, alive
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from accounts.tokens.services import InvalidToken, revoke
from common import quotas, strict_json
from devices.models import Device, DeviceToken, DeviceTokenQuerySet

TOKEN_PREFIX = "tsd"  # noqa: S105 - the beginning of every device token, no token
ROTATION_GRACE = timedelta(hours=1)
"""How long the old token works after the first use of the new: the device may be several programs,
and a request may be on its way.
"""
AUDITED_FIELDS = ("name", "device_type", "expected_interval", "metadata")
"""What the audit trail tells of a new device."""


ALL = Q()


class TooManyTokens(Exception):
    """The device has as many living tokens as it may have."""


def create_device(
    user: User, *, name: str, **fields: Any
) -> tuple[Device, token_format.PlaintextToken]:
    """Store a new device of the user, with its first token.

    Raises ValidationError, InvalidJSON, quotas.QuotaReached.
    """
    device = Device(user=user, name=name, **fields)
    _validate(device)
    with transaction.atomic():
        _check_quota(user)
        device.save(force_insert=True)
        secret = _issue(device, label="first")[1]
        about = {field: getattr(device, field) for field in AUDITED_FIELDS}
        audit.record("device.created", target=device, after=about)
    return device, secret


def _check_quota(user: User, *, more: int = 1) -> None:
    """Raise QuotaReached unless the user may have so many more devices. The user's row is locked,
    so that of many at once none is too many.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    held = Device.objects.filter(user=user, deleted_at=None).count()
    quotas.check_quota("DEVICES_PER_USER", held + more - 1)


def update_device(device: Device, **fields: Any) -> Device:
    """Store new values of a device's fields; metadata is replaced whole.

    Raises ValidationError, InvalidJSON, Device.DoesNotExist if it was deleted in the meantime.
    """
    for field, value in fields.items():
        setattr(device, field, value)
    _validate(device)
    device.updated_at = timezone.now()
    with transaction.atomic():
        living = Device.objects.filter(pk=device.pk, deleted_at=None)
        before = living.select_for_update(no_key=True).get()
        living.update(**fields, updated_at=device.updated_at)
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
    """Give devices to another user, and count those that were not theirs already.

    Tokens that were never used end: no device needs them, and the old owner may know them. The
    others end if `revoke_tokens` says so; otherwise the devices go on with them, and so can the old
    owner if they have kept one. Raises quotas.QuotaReached.
    """
    with transaction.atomic():
        given = _lock_devices(devices, ~Q(user=user))
        if given:
            _check_quota(user, more=len(given))
        _update(given, user=user, updated_at=now)
        ending = DeviceToken.objects.filter(device__in=given, revoked=False)
        for token in ending if revoke_tokens else ending.filter(last_used_at=None):
            revoke(token)
        for device in given:
            before, device.user = device.user, user
            audit.record(
                "device.given",
                target=device,
                before={"user": str(before)},
                after={"user": str(user)},
                now=now,
            )
    return len(given)


def deactivate(devices: Iterable[Device], *, now: datetime) -> int:
    """Refuse the tokens of devices from the next request on, and count those newly refused.
    Their data stays, and `reactivate` lets them in again.
    """
    with transaction.atomic():
        refused = _lock_devices(devices, Q(deactivated_at=None))
        _update(refused, deactivated_at=now, updated_at=now)
        _record_each("device.deactivated", refused, now=now)
    return len(refused)


def reactivate(devices: Iterable[Device], *, now: datetime) -> int:
    """Let deactivated devices in again with the tokens they have, and count them."""
    with transaction.atomic():
        returned = _lock_devices(devices, Q(deactivated_at__isnull=False))
        _update(returned, deactivated_at=None, updated_at=now)
        _record_each("device.reactivated", returned, now=now)
    return len(returned)


def soft_delete(*devices: Device, now: datetime) -> int:
    """Hide devices and refuse their tokens at once, and count those that were not gone yet; the
    worker clears what is left of them.
    """
    with transaction.atomic():
        gone = _lock_devices(devices)
        _update(gone, deleted_at=now, updated_at=now)
        DeviceToken.objects.filter(device__in=gone, revoked=False).update(revoked=True)
        _record_each("device.decommissioned", gone, now=now)
    return len(gone)


def soft_delete_all(user: User, *, now: datetime) -> None:
    """The same for every device that a user has."""
    with transaction.atomic():
        living = Device.objects.filter(user=user, deleted_at=None)
        gone = list(living.select_for_update(no_key=True).values_list("pk", flat=True))
        Device.objects.filter(pk__in=gone).update(deleted_at=now, updated_at=now)
        DeviceToken.objects.filter(device__in=gone).update(revoked=True)


def hard_delete(device: Device) -> None:
    """Remove a decommissioned device itself, once its readings are gone."""
    with transaction.atomic():
        if Device.objects.exclude(deleted_at=None).filter(pk=device.pk).delete()[0]:
            audit.record("device.purged", target=device)


def issue_token(
    device: Device, *, label: str = ""
) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """Store a new token of the device; the secret is in the answer and nowhere else.

    Raises TooManyTokens.
    """
    with transaction.atomic():
        token, secret = _issue(device, label=label)
        audit.record("token.issued", target=token, after={"device": device.name, "label": label})
    return token, secret


def revoke_token(token: DeviceToken) -> None:
    """End a token; the next request with it is refused. Revoking twice is harmless."""
    revoke(token)


def rotate_token(
    device: Device, *, now: datetime
) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """One new token in place of all others, of which the one the device speaks with lives on
    until it has changed over; see `replace_token`.
    """
    with transaction.atomic():
        Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        last_used_first = F("last_used_at").desc(nulls_last=True)
        in_use = _active_tokens(device, now).order_by(last_used_first, "-created_at").first()
        if in_use is None:
            token, secret = _issue(device, label="rotated")
            audit.record("device.rotated", target=device, after={"new": str(token)}, now=now)
            return token, secret
        in_use = _token_in_use(in_use, now)
        for token in device.tokens.filter(alive(now)).exclude(pk=in_use.pk):
            revoke(token)
        return rotate_one_token(in_use, now=now)


def rotate_one_token(
    token: DeviceToken, *, now: datetime
) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """A new token in place of this one, which lives until ROTATION_GRACE after the first use of
    the new: a device that never hears of it is not locked out. The two are all that live: what
    this one replaced, and an earlier replacement that was never used, end now.

    Raises TokenRefused when the token has ended or is ending.
    """
    with transaction.atomic():
        Device.objects.select_for_update(no_key=True).get(pk=token.device_id)
        old = _active_tokens(token.device, now).filter(pk=token.pk).first()
        if old is None:
            raise InvalidToken
        old = _token_in_use(old, now)
        for other in token.device.tokens.filter(Q(replaced_by=old) | Q(pk=old.replaced_by_id)):
            revoke(other)
        new, secret = _issue(token.device, label=old.label or "rotated")
        DeviceToken.objects.filter(pk=old.pk).update(replaced_by=new)
        about = {"old": str(old), "new": str(new)}
        audit.record("device.rotated", target=token.device, after=about, now=now)
    return new, secret


def _token_in_use(token: DeviceToken, now: datetime) -> DeviceToken:
    """The token itself; before its first use the one it replaces, because the device may never
    have got it.
    """
    if token.last_used_at is not None:
        return token
    return _active_tokens(token.device, now).filter(replaced_by=token).first() or token


def record_token_use(token: DeviceToken, *, now: datetime) -> None:
    """Remember that a token was used; the first use of one that replaces another ends that one
    after ROTATION_GRACE.
    """
    if token.last_used_at is None:
        ends = now + ROTATION_GRACE
        DeviceToken.objects.filter(alive(ends), replaced_by=token.pk).update(expires_at=ends)
    tokens.record_use(token, now=now)


def _active_tokens(device: Device, now: datetime) -> DeviceTokenQuerySet:
    """Its living tokens, without those that are ending because their successor was used."""
    return device.tokens.filter(alive(now)).exclude(replaced_by__last_used_at__isnull=False)


def _issue(device: Device, *, label: str) -> tuple[DeviceToken, token_format.PlaintextToken]:
    """Within a transaction."""
    secret = token_format.generate(TOKEN_PREFIX)
    # Two issues at once are counted one after the other.
    Device.objects.select_for_update(no_key=True).get(pk=device.pk)
    if device.tokens.filter(alive(timezone.now())).count() >= settings.TOKENS_PER_DEVICE:
        raise TooManyTokens
    token = DeviceToken.objects.create(
        device=device, token_hash=secret.digest, prefix=secret.visible, label=label
    )
    return token, secret


def _audit_value(value: Any) -> Any:
    """A field's value as the audit trail has it: of people the name."""
    return str(value) if isinstance(value, User) else value


def _lock_devices(devices: Iterable[Device], which: Q = ALL) -> list[Device]:
    """Those of the devices that live and are so, until the end of the transaction nobody else's to
    change; in the order of their ids, as everybody takes them who takes more than one.
    """
    chosen = Device.objects.filter(which, pk__in=[device.pk for device in devices], deleted_at=None)
    held = chosen.order_by("pk").select_for_update(no_key=True, of=("self",))
    return list(held.select_related("user"))


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
