"""The life of a command: issued, claimed, finished, cancelled, expired, sent again.

With `batches` the only writer of the table. Every step is one conditional UPDATE, so that of two
at once one wins; the public status is pending, then executed or failed for good.

Who locks more than one row waits for none (SKIP LOCKED) or takes them in the order of their ids,
and devices before commands: so nobody waits in a circle.
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

LONGEST_LIFE = timedelta(seconds=models.MAX_TTL)
LEASE = timedelta(seconds=60)
"""How long a device has to answer before its command is handed out again."""
CLAIM_LIMIT = 50
EXPIRE_LIMIT = 10_000
"""Commands that one run of the worker ends; the next comes in half a minute."""


class QueueFull(Exception):
    """As many commands as may wait for one device do."""


class AlreadyFinished(Exception):
    """The command has ended, and not with this result."""


class StillPending(Exception):
    """The command has not ended, so there is nothing to send again."""


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
    """Store a command for the device to fetch, or return the one that this key brought before.

    Without `expires_in` it waits as long as the catalogue says. Raises QueueFull, InvalidJSON,
    ValidationError, InvalidIdempotencyKey, IdempotencyKeyReused, Device.DoesNotExist.
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
        asked = [command_name, payload, expires_in, retry_of and retry_of.pk]
        command.request_digest = request_digest(idempotency_key, asked)
        # Asked before the catalogue is, which may have changed since.
        if earlier := _find_duplicate(command):
            return earlier
    life = validate_command(device, command_name, payload)
    command.expires_at = now + (expires_in or life)
    command.full_clean(
        exclude=["device", "issued_by", "retry_of"],
        validate_unique=False,
        validate_constraints=False,
    )
    return _store(command, now=now)


def resend(
    command: Command, *, issued_by: User | None, now: datetime, idempotency_key: str = ""
) -> Command:
    """Send a command that has ended again: a new one, which refers to it and lives as long.

    Raises StillPending and what `issue` raises.
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
    """Whether this could be sent to the device, and how long it waits then by default.

    Raises InvalidJSON.
    """
    check_object(payload, at="/payload")
    return catalogue.check(catalogue.for_device(device), command_name, payload)


def check_object(value: Any, *, at: str) -> None:
    """Raises InvalidJSON for what is no JSON object that can be stored."""
    if faults := strict_json.validate_object(value, limit=settings.PAYLOAD_LIMIT, at=at):
        raise strict_json.InvalidJSONValue(faults)


def lock_and_get_capacity(devices: Collection[UUID], *, now: datetime) -> dict[UUID, int]:
    """Hold these devices until the end of the transaction; how many more commands each may get.

    Of two issues at once the second counts what the first has stored. A device that was deleted
    is missing from the answer.
    """
    held = list(
        Device.objects.filter(pk__in=devices, deleted_at=None)
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk", flat=True)
    )
    waiting = Command.objects.waiting(now).filter(device__in=held).order_by()
    counts = dict(waiting.values_list("device").annotate(Count("pk")))
    return {device: settings.PENDING_COMMANDS_PER_DEVICE - counts.get(device, 0) for device in held}


def request_digest(idempotency_key: str, asked: list[Any]) -> bytes:
    """What tells one request from another with the same key. Raises InvalidIdempotencyKey."""
    idempotency_keys.validate_key(idempotency_key)
    return blake2b(json.dumps(asked, sort_keys=True, default=str).encode(), digest_size=16).digest()


def _store(command: Command, *, now: datetime) -> Command:
    with transaction.atomic():
        free = lock_and_get_capacity([command.device_id], now=now)
        if command.device_id not in free:
            raise Device.DoesNotExist
        if command.idempotency_key and (earlier := _find_duplicate(command)):
            return earlier
        if free[command.device_id] < 1:
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
    """The command that the same issuer sent with the same key. Raises IdempotencyKeyReused."""
    earlier = Command.objects.filter(
        device=command.device,
        issued_by=command.issued_by,
        idempotency_key=command.idempotency_key,
    ).first()
    if earlier and bytes(earlier.request_digest or b"") != command.request_digest:
        raise idempotency_keys.IdempotencyKeyReused
    return earlier


def claim(device: Device, *, now: datetime, limit: int = CLAIM_LIMIT) -> list[Command]:
    """Hand the device its waiting commands, oldest first, each for the time of a lease.

    A claimed command is handed out again when its lease ends without an answer, ATTEMPTS times
    at the most. Of two claims at once each gets other commands; an expired one nobody gets.
    """
    free = Q(lease_until=None) | Q(lease_until__lte=now)
    with transaction.atomic():
        chosen = list(
            Command.objects.waiting(now)
            .filter(free, device=device, attempts__lt=MAX_ATTEMPTS)
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
    """Store a device's answer. The same answer twice is harmless, a late one is marked so.

    Raises AlreadyFinished for another answer, InvalidJSON for a result that cannot be stored.
    """
    if result is not None:
        check_object(result, at="/result")
    if status == Status.EXECUTED:
        ending = {"status": status, "reason": "", "executed_at": executed_at or now}
    else:
        ending = {"status": status, "reason": reason or Reason.DEVICE, "executed_at": executed_at}
    # What was done was done: an answer that comes late replaces a failure that only time made.
    open_to_answers = Q(status=Status.PENDING) | Q(reason__in=[Reason.EXPIRED, Reason.ATTEMPTS])
    over = Q(status=Status.FAILED) | Q(expires_at__lte=now) | _attempts_exhausted(now)
    answered = Command.objects.filter(open_to_answers, pk=command.pk).update(
        result=result,
        lease_until=None,
        finished_at=now,
        late=Case(When(over, then=Value(True)), default=Value(False)),
        **ending,
    )
    command.refresh_from_db()
    if not answered and _is_different_result(command, result=result, **ending):
        raise AlreadyFinished
    return command


def cancel(command: Command, *, now: datetime) -> Command:
    """Take back a command that still waits; twice is harmless. Raises AlreadyFinished."""
    waiting = Command.objects.waiting(now).filter(pk=command.pk).order_by()
    with transaction.atomic():
        if waiting.update(status=Status.FAILED, reason=Reason.CANCELLED, finished_at=now):
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
    """Mark failed what nobody carried out in time or answered in ATTEMPTS tries, and count it."""
    # First what gave up first: the reason is the same whenever the worker comes.
    given_up = _end(_attempts_exhausted(now), reason=Reason.ATTEMPTS, finished_at=F("lease_until"))
    expired = _end(Q(expires_at__lte=now), reason=Reason.EXPIRED, finished_at=F("expires_at"))
    return given_up + expired


def _attempts_exhausted(now: datetime) -> Q:
    last_lease_is_over = Q(lease_until__lte=now) & Q(lease_until__lte=F("expires_at"))
    return Q(attempts__gte=MAX_ATTEMPTS) & last_lease_is_over


def _end(which: Q, **ending: Any) -> int:
    with transaction.atomic():
        chosen = list(
            Command.objects.filter(which, status=Status.PENDING)
            .order_by()
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("pk", flat=True)[:EXPIRE_LIMIT]
        )
        return Command.objects.filter(pk__in=chosen).update(status=Status.FAILED, **ending)


def _is_different_result(command: Command, **ending: Any) -> bool:
    """Whether a stored answer is another one; when it was carried out is no part of it."""
    del ending["executed_at"]
    return any(getattr(command, field) != value for field, value in ending.items())
