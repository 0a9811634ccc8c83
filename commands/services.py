"""Create, claim, finish, cancel, expire and resend commands.

Only this module and `batches` write to the table. Each step is one conditional UPDATE, so that
only one of two concurrent requests succeeds. The public status is pending, then executed or failed.

A transaction that locks several rows skips locked rows (SKIP LOCKED), or locks them ordered by id
and devices before commands. This avoids deadlocks.
"""

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, F, Q, Value, When
from django.db.models.functions import Coalesce

from accounts.audit import log as audit
from accounts.models import User
from commands import catalogue, models
from commands.models import MAX_ATTEMPTS, Command
from common import strict_json
from common.api import idempotency_keys
from devices.models import Device

Status, Reason = Command.Status, Command.Reason

MAX_TTL = timedelta(seconds=models.MAX_TTL)
LEASE = timedelta(seconds=60)
"""How long a device has to report a result before its command is delivered again."""
CLAIM_LIMIT = 50
EXPIRE_LIMIT = 10_000
"""Commands that one run of the worker ends. The next run starts within 30 seconds."""


class QueueFull(Exception):
    """The device has reached the limit of pending commands."""


class AlreadyFinished(Exception):
    """The command has already ended with another result."""


class StillPending(Exception):
    """The command is pending and so cannot be sent again."""


def create_command(
    device: Device,
    *,
    command_name: str,
    payload: Any,
    issued_by: User | None,
    now: datetime,
    expires_in: timedelta | None = None,
    retry_of: Command | None = None,
    idempotency_key: str = "",
) -> Command:
    """Store a command for the device, or return the command already created with this key.

    The default of `expires_in` is the default expiry of the command type. Raises QueueFull,
    InvalidJSONValue, ValidationError, InvalidIdempotencyKey, IdempotencyKeyReused,
    Device.DoesNotExist.
    """
    command = Command(
        device=device,
        command_name=command_name,
        payload=payload,
        issued_by=issued_by,
        retry_of=retry_of,
        created_at=now,
        idempotency_key=idempotency_key,
    )
    if idempotency_key:
        values = [command_name, payload, expires_in, retry_of and retry_of.pk]
        command.request_digest = request_digest(idempotency_key, values)
        # Before validation, because the catalogue may have changed since the first request.
        if duplicate := _find_duplicate(command):
            return duplicate
    default_ttl = validate_command(device, command_name, payload)
    command.expires_at = now + (expires_in or default_ttl)
    command.full_clean(
        exclude=["device", "issued_by", "retry_of"],
        validate_unique=False,
        validate_constraints=False,
    )
    return _store(command, now=now)


def resend(
    command: Command, *, issued_by: User | None, now: datetime, idempotency_key: str = ""
) -> Command:
    """Create a new command from one that has ended. It refers to the old one and has the same TTL.

    Raises StillPending and the errors of `create_command`.
    """
    if command.as_of(now).status == Status.PENDING:
        raise StillPending
    return create_command(
        command.device,
        command_name=command.command_name,
        payload=command.payload,
        issued_by=issued_by,
        now=now,
        expires_in=command.expires_at - command.created_at,
        retry_of=command,
        idempotency_key=idempotency_key,
    )


def validate_command(device: Device, command_name: str, payload: Any) -> timedelta:
    """Validate a command for this device, and return its default TTL. Raises InvalidJSONValue."""
    check_object(payload, at="/payload")
    return catalogue.check(catalogue.for_device(device), command_name, payload)


def check_object(value: Any, *, at: str) -> None:
    """Raise InvalidJSONValue unless the value is a JSON object that can be stored."""
    if faults := strict_json.validate_object(value, limit=settings.PAYLOAD_LIMIT, at=at):
        raise strict_json.InvalidJSONValue(faults)


def lock_and_get_capacity(devices: Collection[UUID], *, now: datetime) -> dict[UUID, int]:
    """Lock these devices until the end of the transaction, and return how many more pending
    commands each may have.

    With the lock, concurrent requests cannot exceed the limit. The result contains no deleted
    devices.
    """
    locked = list(
        Device.objects.filter(pk__in=devices, deleted_at=None)
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk", flat=True)
    )
    pending = Command.objects.pending_at(now).filter(device__in=locked).order_by()
    counts = dict(pending.values_list("device").annotate(Count("pk")))
    return {
        device: settings.PENDING_COMMANDS_PER_DEVICE - counts.get(device, 0) for device in locked
    }


def request_digest(idempotency_key: str, values: list[Any]) -> bytes:
    """Return a digest of the values of a request, to compare it with another that has the same key.

    Raises InvalidIdempotencyKey.
    """
    idempotency_keys.validate_key(idempotency_key)
    return blake2b(
        json.dumps(values, sort_keys=True, default=str).encode(), digest_size=16
    ).digest()


def _store(command: Command, *, now: datetime) -> Command:
    with transaction.atomic():
        capacity = lock_and_get_capacity([command.device_id], now=now)
        if command.device_id not in capacity:
            raise Device.DoesNotExist
        if command.idempotency_key and (duplicate := _find_duplicate(command)):
            return duplicate
        if capacity[command.device_id] < 1:
            raise QueueFull
        command.save(force_insert=True)
        audit.record(
            "command.issued",
            target=command,
            name=command.command_name,
            after={"device": command.device.name},
            now=now,
        )
    return command


def _find_duplicate(command: Command) -> Command | None:
    """Return the command of the same user and device with the same key, or None.

    Raises IdempotencyKeyReused if its request was different.
    """
    duplicate = Command.objects.filter(
        device=command.device,
        issued_by=command.issued_by,
        idempotency_key=command.idempotency_key,
    ).first()
    if duplicate and bytes(duplicate.request_digest or b"") != command.request_digest:
        raise idempotency_keys.IdempotencyKeyReused
    return duplicate


def claim(device: Device, *, now: datetime, limit: int = CLAIM_LIMIT) -> list[Command]:
    """Return pending commands of the device, oldest first, and lease them to it for LEASE.

    A claimed command is delivered again if its lease ends without a result, at most MAX_ATTEMPTS
    times. Concurrent claims return different commands. Expired commands are never returned.
    """
    unleased = Q(lease_until=None) | Q(lease_until__lte=now)
    with transaction.atomic():
        chosen = list(
            Command.objects.pending_at(now)
            .filter(unleased, device=device, attempts__lt=MAX_ATTEMPTS)
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("pk", flat=True)[:limit]
        )
        Command.objects.filter(pk__in=chosen).update(
            lease_until=now + LEASE,
            attempts=F("attempts") + 1,
            delivered_at=Coalesce("delivered_at", now),
        )
        return list(Command.objects.filter(pk__in=chosen).order_by("created_at", "id"))


def record_result(
    command: Command,
    *,
    status: Command.Status,
    now: datetime,
    executed_at: datetime | None = None,
    result: Any = None,
    reason: Command.Reason | None = None,
) -> Command:
    """Store the result that a device reports. Repeating the same result is harmless. A late result
    is marked as late.

    Raises AlreadyFinished if the command ended with another result, and InvalidJSONValue if the
    result cannot be stored.
    """
    if result is not None:
        check_object(result, at="/result")
    if status == Status.EXECUTED:
        ending = {"status": status, "reason": "", "executed_at": executed_at or now}
    else:
        ending = {"status": status, "reason": reason or Reason.DEVICE, "executed_at": executed_at}
    # A late result replaces a failure that was caused only by time or attempts.
    accepts_result = Q(status=Status.PENDING) | Q(reason__in=[Reason.EXPIRED, Reason.ATTEMPTS])
    is_late = Q(status=Status.FAILED) | Q(expires_at__lte=now) | _attempts_exhausted(now)
    updated = Command.objects.filter(accepts_result, pk=command.pk).update(
        result=result,
        lease_until=None,
        finished_at=now,
        late=Case(When(is_late, then=Value(True)), default=Value(False)),
        **ending,
    )
    command.refresh_from_db()
    if not updated and _is_different_result(command, result=result, **ending):
        raise AlreadyFinished
    return command


def cancel(command: Command, *, now: datetime) -> Command:
    """Cancel a pending command. Repeating it is harmless. Raises AlreadyFinished."""
    pending = Command.objects.pending_at(now).filter(pk=command.pk).order_by()
    with transaction.atomic():
        if pending.update(status=Status.FAILED, reason=Reason.CANCELLED, finished_at=now):
            audit.record(
                "command.cancelled",
                target=command,
                name=command.command_name,
                after={"device": command.device.name},
                now=now,
            )
    command.refresh_from_db()
    if command.reason != Reason.CANCELLED:
        raise AlreadyFinished
    return command


def expire_overdue(*, now: datetime) -> int:
    """Mark commands as failed that have expired or used all attempts; return their number."""
    # Attempts first, so that the reason does not depend on when the worker runs.
    exhausted = _end(_attempts_exhausted(now), reason=Reason.ATTEMPTS, finished_at=F("lease_until"))
    expired = _end(Q(expires_at__lte=now), reason=Reason.EXPIRED, finished_at=F("expires_at"))
    return exhausted + expired


def _attempts_exhausted(now: datetime) -> Q:
    last_lease_is_over = Q(lease_until__lte=now) & Q(lease_until__lte=F("expires_at"))
    return Q(attempts__gte=MAX_ATTEMPTS) & last_lease_is_over


def _end(condition: Q, **ending: Any) -> int:
    with transaction.atomic():
        chosen = list(
            Command.objects.filter(condition, status=Status.PENDING)
            .order_by()
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("pk", flat=True)[:EXPIRE_LIMIT]
        )
        return Command.objects.filter(pk__in=chosen).update(status=Status.FAILED, **ending)


def _is_different_result(command: Command, **ending: Any) -> bool:
    """Return whether the stored result differs; `executed_at` is not compared."""
    del ending["executed_at"]
    return any(getattr(command, field) != value for field, value in ending.items())
