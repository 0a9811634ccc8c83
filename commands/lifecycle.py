"""The life of a command: issued, claimed, finished, cancelled, expired.

The only writer of the table. Every step is one conditional UPDATE, so that of two at once one
wins; the public status is pending, then executed or failed for good.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from accounts import audit
from accounts.models import User
from commands import catalogue
from commands.models import ATTEMPTS, Command
from devices import free_json
from devices.models import Device

Status, Reason = Command.Status, Command.Reason

DEFAULT_LIFE = timedelta(hours=1)
LONGEST_LIFE = timedelta(days=30)
LEASE = timedelta(seconds=60)
"""How long a device has to answer before its command is handed out again."""
CLAIM_LIMIT = 50


class QueueFull(Exception):
    """As many commands as may wait for one device do."""


class AlreadyFinished(Exception):
    """The command has ended, and not with this result."""


def issue(
    device: Device,
    *,
    command_name: str,
    payload: Any,
    issued_by: User | None,
    now: datetime,
    expires_in: timedelta = DEFAULT_LIFE,
) -> Command:
    """Store a command for the device to fetch. Raises QueueFull, InvalidJSON, ValidationError."""
    check(device, command_name, payload)
    command = Command(
        device=device,
        command_name=command_name,
        payload=payload,
        issued_by=issued_by,
        created_at=now,
        expires_at=now + expires_in,
    )
    command.full_clean(exclude=["device", "issued_by"], validate_constraints=False)
    with transaction.atomic():
        # Two issues at once are counted one after the other.
        Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        if device.waiting_commands(now) >= settings.PENDING_COMMANDS_PER_DEVICE:
            raise QueueFull
        command.save(force_insert=True)
        audit.record(
            "command.issued",
            target=command,
            name=command_name,
            after={"device": device.name},
            now=now,
        )
    return command


def check(device: Device, command_name: str, payload: Any) -> None:
    """Whether this could be sent to the device. Raises InvalidJSON."""
    if faults := free_json.check_object(payload, limit=settings.PAYLOAD_LIMIT, at="/payload"):
        raise free_json.InvalidJSON(faults)
    catalogue.check(device, command_name, payload)


def claim(device: Device, *, now: datetime, limit: int = CLAIM_LIMIT) -> list[Command]:
    """Hand the device its waiting commands, oldest first, each for the time of a lease.

    A claimed command is handed out again when its lease ends without an answer, ATTEMPTS times
    at the most. Of two claims at once each gets other commands; an expired one nobody gets.
    """
    free = Q(lease_until=None) | Q(lease_until__lte=now)
    with transaction.atomic():
        chosen = list(
            Command.objects.waiting(now)
            .filter(free, device=device, attempts__lt=ATTEMPTS)
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("pk", flat=True)[:limit]
        )
        Command.objects.filter(pk__in=chosen).update(
            lease_until=now + LEASE,
            attempts=F("attempts") + 1,
            delivered_at=Coalesce("delivered_at", now),
        )
        return list(Command.objects.filter(pk__in=chosen).order_by("created_at", "id"))


def finish(
    command: Command,
    *,
    status: Command.Status,
    now: datetime,
    executed_at: datetime | None = None,
    result: Any = None,
    reason: Command.Reason | None = None,
) -> Command:
    """Store a device's answer. The same answer twice is harmless.

    Raises AlreadyFinished for another answer, InvalidJSON for a result that cannot be stored.
    """
    _check_result(result)
    if status == Status.EXECUTED:
        ending = {"status": status, "reason": "", "executed_at": executed_at or now}
    else:
        ending = {"status": status, "reason": reason or Reason.DEVICE, "executed_at": executed_at}
    # What was done was done: an answer that comes late replaces a failure that only time made.
    open_to_answers = Q(status=Status.PENDING) | Q(reason__in=[Reason.EXPIRED, Reason.ATTEMPTS])
    answered = Command.objects.filter(open_to_answers, pk=command.pk).update(
        result=result, lease_until=None, **ending
    )
    command.refresh_from_db()
    if not answered and _differs(command, result=result, **ending):
        raise AlreadyFinished
    return command


def cancel(command: Command, *, now: datetime) -> Command:
    """Take back a command that still waits; twice is harmless. Raises AlreadyFinished."""
    waiting = Command.objects.waiting(now).filter(pk=command.pk).order_by()
    with transaction.atomic():
        if waiting.update(status=Status.FAILED, reason=Reason.CANCELLED):
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


def expire(*, now: datetime) -> int:
    """Mark failed what nobody carried out in time or answered in ATTEMPTS tries, and count it."""
    expired = _end(Q(expires_at__lte=now), status=Status.FAILED, reason=Reason.EXPIRED)
    given_up = _end(
        Q(attempts__gte=ATTEMPTS, lease_until__lte=now),
        status=Status.FAILED,
        reason=Reason.ATTEMPTS,
    )
    return expired + given_up


def _end(which: Q, **ending: Any) -> int:
    return Command.objects.filter(which, status=Status.PENDING).update(**ending)


def _differs(command: Command, **ending: Any) -> bool:
    """Whether a stored answer is another one; when it was carried out is no part of it."""
    del ending["executed_at"]
    return any(getattr(command, field) != value for field, value in ending.items())


def _check_result(result: Any) -> None:
    if result is None:
        return
    if faults := free_json.check_object(result, limit=settings.PAYLOAD_LIMIT, at="/result"):
        raise free_json.InvalidJSON(faults)
