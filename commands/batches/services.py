"""One command to many devices at once, answered for each of them.

A few statements however many there are. What each device makes of its command is a command like
any other; the batch keeps which devices got none, and why.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from accounts.audit import log as audit
from accounts.models import User
from commands import catalogue
from commands import services as command_services
from commands.models import Command, CommandBatch
from common import strict_json
from common.api import idempotency_keys
from devices.models import Device

DEVICES_LIMIT = 1000


class NoDevices(Exception):
    """A batch is for one device at the least."""


class TooManyDevices(Exception):
    """A batch is for DEVICES_LIMIT devices at the most."""


class AllRejected(Exception):
    """Not one of the devices could be sent this; `refused` says why, device by device."""

    def __init__(self, refused: list[dict[str, Any]]) -> None:
        super().__init__(f"refused for {len(refused)} devices")
        self.refused = refused


class Progress(NamedTuple):
    """How far a batch is, in devices."""

    asked: int
    refused: int
    pending: int
    delivered: int
    """Of the pending ones those that were handed out."""
    executed: int
    failed: int

    @property
    def ended(self) -> int:
        """Those of which nothing more is to come."""
        return self.asked - self.pending


def issue(
    devices: Sequence[Device],
    *,
    command_name: str,
    payload: Any,
    issued_by: User,
    now: datetime,
    expires_in: timedelta | None = None,
    unknown: Sequence[UUID] = (),
    wanted: Any = None,
    idempotency_key: str = "",
) -> CommandBatch:
    """Store one command for each of these devices, or return the batch this key brought before.

    `unknown` are ids that were asked for and are no devices of the issuer; `wanted` is what the
    devices were looked for by, as the same question finds others a moment later.

    Raises NoDevices, TooManyDevices, NoneTaken, InvalidJSON, ValidationError,
    InvalidIdempotencyKey, IdempotencyKeyReused.
    """
    batch = CommandBatch(
        issued_by=issued_by,
        command_name=command_name,
        payload=payload,
        created_at=now,
        asked=len(devices) + len(unknown),
        idempotency_key=idempotency_key,
    )
    if idempotency_key:
        ids = sorted([*(device.pk for device in devices), *unknown])
        asked = [command_name, payload, expires_in, wanted or ids]
        batch.request_digest = command_services.request_digest(idempotency_key, asked)
        if earlier := _sent_before(batch):
            return earlier
    if not batch.asked:
        raise NoDevices
    if batch.asked > DEVICES_LIMIT:
        raise TooManyDevices
    commands, refused = _validate_devices(batch, devices, expires_in=expires_in)
    refused += [_refusal(pk, "not-found", _("There is no such device.")) for pk in unknown]
    try:
        return _store(batch, commands, refused, now=now)
    except IntegrityError:
        # Sent twice at once with one key: the other one has stored it.
        if idempotency_key and (earlier := _sent_before(batch)):
            return earlier
        raise


def cancel(batch: CommandBatch, *, now: datetime) -> int:
    """Take back every command of it that still waits, and count them; twice is harmless."""
    with transaction.atomic():
        waiting = Command.objects.waiting(now).filter(batch=batch)
        chosen = list(
            waiting.order_by("pk")
            .select_for_update(no_key=True, of=("self",))
            .values_list("pk", "device__user")
        )
        owners = Counter(owner for _pk, owner in chosen)
        cancelled = Command.objects.filter(pk__in=[pk for pk, _owner in chosen]).update(
            status=Command.Status.FAILED, reason=Command.Reason.CANCELLED, finished_at=now
        )
        if CommandBatch.objects.filter(pk=batch.pk, cancelled_at=None).update(cancelled_at=now):
            _record("command.cancelled_for_many", batch, owners, now)
    batch.refresh_from_db()
    return cancelled


def progress(batch: CommandBatch, *, now: datetime) -> Progress:
    """How its commands stand at `now`, whether or not the worker has noted their ends."""
    waiting = Q(pk__in=Command.objects.waiting(now).filter(batch=batch).order_by().values("pk"))
    counts = batch.commands.aggregate(
        all=Count("pk"),
        pending=Count("pk", filter=waiting),
        delivered=Count("pk", filter=waiting & Q(delivered_at__isnull=False)),
        executed=Count("pk", filter=Q(status=Command.Status.EXECUTED)),
    )
    return Progress(
        asked=batch.asked,
        refused=len(batch.refused),
        pending=counts["pending"],
        delivered=counts["delivered"],
        executed=counts["executed"],
        failed=counts["all"] - counts["pending"] - counts["executed"],
    )


def _validate_devices(
    batch: CommandBatch, devices: Sequence[Device], *, expires_in: timedelta | None
) -> tuple[list[Command], list[dict[str, Any]]]:
    """A command for each device that takes it, a refusal for each other; once for each type."""
    command_services.check_object(batch.payload, at="/payload")
    kinds = catalogue.for_types({device.device_type for device in devices})
    lives: dict[str, timedelta | strict_json.InvalidJSONValue] = {}
    for device_type, known in kinds.items():
        try:
            lives[device_type] = catalogue.check(known, batch.command_name, batch.payload)
        except strict_json.InvalidJSONValue as error:
            lives[device_type] = error
    commands, refused = [], []
    for device in devices:
        life = lives[device.device_type]
        if isinstance(life, strict_json.InvalidJSONValue):
            refused.append(_schema_rejection(device.pk, life))
        else:
            commands.append(_command(batch, device, life=expires_in or life))
    return commands, refused


def _command(batch: CommandBatch, device: Device, *, life: timedelta) -> Command:
    return Command(
        device=device,
        batch=batch,
        command_name=batch.command_name,
        payload=batch.payload,
        issued_by=batch.issued_by,
        created_at=batch.created_at,
        expires_at=batch.created_at + life,
    )


def _store(
    batch: CommandBatch, commands: list[Command], refused: list[dict[str, Any]], *, now: datetime
) -> CommandBatch:
    if commands:
        # One stands for all: they differ in their devices and in how long they wait.
        commands[0].clean_fields(exclude=["device", "issued_by", "batch"])
    with transaction.atomic():
        free = command_services.lock_and_get_capacity(
            [command.device_id for command in commands], now=now
        )
        taken = [command for command in commands if free.get(command.device_id, 0) > 0]
        for command in commands:
            if command.device_id not in free:
                refused.append(_refusal(command.device_id, "not-found", _("It was deleted.")))
            elif free[command.device_id] < 1:
                waiting = {"count": settings.PENDING_COMMANDS_PER_DEVICE}
                detail = _("%(count)s commands wait for it already.") % waiting
                refused.append(_refusal(command.device_id, "queue-full", detail))
        if not taken:
            raise AllRejected(refused)
        batch.refused = refused
        batch.expires_at = max(command.expires_at for command in taken)
        batch.save(force_insert=True)
        Command.objects.bulk_create(taken)
        owners = Counter(command.device.user_id for command in taken)
        _record("command.sent_to_many", batch, owners, now)
    return batch


def _record(action: str, batch: CommandBatch, owners: Mapping[UUID, int], now: datetime) -> None:
    """A line in the trail of each whose devices it is about, with how many of theirs."""
    for owner, count in owners.items():
        audit.record(
            action,
            target=batch,
            name=batch.command_name,
            owner=User(pk=owner),
            after={"devices": count},
            now=now,
        )


def _sent_before(batch: CommandBatch) -> CommandBatch | None:
    earlier = CommandBatch.objects.filter(
        issued_by=batch.issued_by, idempotency_key=batch.idempotency_key
    ).first()
    if earlier and bytes(earlier.request_digest or b"") != batch.request_digest:
        raise idempotency_keys.IdempotencyKeyReused
    return earlier


def _schema_rejection(device: UUID, error: strict_json.InvalidJSONValue) -> dict[str, Any]:
    faults = [fault._asdict() for fault in error.faults]
    detail = _("It does not fit what this type of device can be asked.")
    code = error.faults[0].code if error.faults[0].pointer == "/command_name" else "invalid"
    return {**_refusal(device, code, detail), "errors": faults}


def _refusal(device: UUID, code: str, detail: str) -> dict[str, Any]:
    return {"device_id": str(device), "code": code, "detail": detail, "errors": []}


def delete_for_user(user: User) -> None:
    """Remove what was sent to many by somebody who leaves; the commands themselves go with their
    devices.
    """
    CommandBatch.objects.filter(issued_by=user).delete()
