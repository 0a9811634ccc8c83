"""Batches: one command to several devices at once, with a result for each device.

Creating a batch takes a few statements for any number of devices. Each device gets an ordinary
command. The batch stores the rejected devices, each with the reason.
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
    """A batch needs at least one device."""


class TooManyDevices(Exception):
    """A batch has at most DEVICES_LIMIT devices."""


class AllRejected(Exception):
    """The command was rejected for all devices; `rejected` has the reason for each device."""

    def __init__(self, rejected: list[dict[str, Any]]) -> None:
        super().__init__(f"rejected for {len(rejected)} devices")
        self.rejected = rejected


class Progress(NamedTuple):
    """The progress of a batch, in devices."""

    asked: int
    refused: int
    pending: int
    delivered: int
    """The pending ones that were delivered."""
    executed: int
    failed: int

    @property
    def ended(self) -> int:
        """Devices whose status is final."""
        return self.asked - self.pending


def create_batch(
    devices: Sequence[Device],
    *,
    command_name: str,
    payload: Any,
    issued_by: User,
    now: datetime,
    expires_in: timedelta | None = None,
    unknown: Sequence[UUID] = (),
    filters: Any = None,
    idempotency_key: str = "",
) -> CommandBatch:
    """Store one command for each of these devices, or return the batch already created with this
    key.

    `unknown` are requested ids that are not devices of the user. `filters` are the filters that
    selected the devices; the digest of the request contains them instead of the devices, because
    the same filters may select other devices later.

    Raises NoDevices, TooManyDevices, AllRejected, InvalidJSONValue, ValidationError,
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
        values = [command_name, payload, expires_in, filters or ids]
        batch.request_digest = command_services.request_digest(idempotency_key, values)
        if duplicate := _find_duplicate(batch):
            return duplicate
    _check_size(batch)
    commands, rejected = _validate_devices(batch, devices, expires_in=expires_in)
    rejected += [_rejection(pk, "not-found", _("This device does not exist.")) for pk in unknown]
    return _store_once(batch, commands, rejected, now=now)


def cancel(batch: CommandBatch, *, now: datetime) -> int:
    """Cancel all pending commands of a batch and return their number. Repeating it is harmless."""
    with transaction.atomic():
        pending = Command.objects.pending_at(now).filter(batch=batch)
        locked = list(
            pending.order_by("pk")
            .select_for_update(no_key=True, of=("self",))
            .values_list("pk", "device__user")
        )
        owners = Counter(owner for _pk, owner in locked)
        cancelled = Command.objects.filter(pk__in=[pk for pk, _owner in locked]).update(
            status=Command.Status.FAILED, reason=Command.Reason.CANCELLED, finished_at=now
        )
        if CommandBatch.objects.filter(pk=batch.pk, cancelled_at=None).update(cancelled_at=now):
            _record("command.cancelled_for_many", batch, owners, now)
    batch.refresh_from_db()
    return cancelled


def progress(batch: CommandBatch, *, now: datetime) -> Progress:
    """Return the progress at `now`, even if the worker has not stored the status yet."""
    pending = Q(pk__in=Command.objects.pending_at(now).filter(batch=batch).order_by().values("pk"))
    counts = batch.commands.aggregate(
        all=Count("pk"),
        pending=Count("pk", filter=pending),
        delivered=Count("pk", filter=pending & Q(delivered_at__isnull=False)),
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


def _check_size(batch: CommandBatch) -> None:
    """Raise NoDevices or TooManyDevices if the number of requested devices is invalid."""
    if not batch.asked:
        raise NoDevices
    if batch.asked > DEVICES_LIMIT:
        raise TooManyDevices


def _validate_devices(
    batch: CommandBatch, devices: Sequence[Device], *, expires_in: timedelta | None
) -> tuple[list[Command], list[dict[str, Any]]]:
    """Return a command for each device that accepts it and a rejection for each other device.

    The payload is validated once for each device type.
    """
    command_services.check_object(batch.payload, at="/payload")
    catalogues = catalogue.for_types({device.device_type for device in devices})
    default_ttls: dict[str, timedelta | strict_json.InvalidJSONValue] = {}
    for device_type, command_types in catalogues.items():
        try:
            default_ttls[device_type] = catalogue.check(
                command_types, batch.command_name, batch.payload
            )
        except strict_json.InvalidJSONValue as error:
            default_ttls[device_type] = error
    commands, rejected = [], []
    for device in devices:
        default_ttl = default_ttls[device.device_type]
        if isinstance(default_ttl, strict_json.InvalidJSONValue):
            rejected.append(_schema_rejection(device.pk, default_ttl))
        else:
            commands.append(_command(batch, device, ttl=expires_in or default_ttl))
    return commands, rejected


def _command(batch: CommandBatch, device: Device, *, ttl: timedelta) -> Command:
    return Command(
        device=device,
        batch=batch,
        command_name=batch.command_name,
        payload=batch.payload,
        issued_by=batch.issued_by,
        created_at=batch.created_at,
        expires_at=batch.created_at + ttl,
    )


def _store_once(
    batch: CommandBatch, commands: list[Command], rejected: list[dict[str, Any]], *, now: datetime
) -> CommandBatch:
    """Store the batch, or return the one that a concurrent request with the same key stored."""
    try:
        return _store(batch, commands, rejected, now=now)
    except IntegrityError:
        if batch.idempotency_key and (duplicate := _find_duplicate(batch)):
            return duplicate
        raise


def _store(
    batch: CommandBatch, commands: list[Command], rejected: list[dict[str, Any]], *, now: datetime
) -> CommandBatch:
    if commands:
        # Validate one for all: they differ only in device and expiry.
        commands[0].clean_fields(exclude=["device", "issued_by", "batch"])
    with transaction.atomic():
        capacity = command_services.lock_and_get_capacity(
            [command.device_id for command in commands], now=now
        )
        accepted = [command for command in commands if capacity.get(command.device_id, 0) > 0]
        for command in commands:
            if command.device_id not in capacity:
                rejected.append(
                    _rejection(command.device_id, "not-found", _("The device has been deleted."))
                )
            elif capacity[command.device_id] < 1:
                params = {"count": settings.PENDING_COMMANDS_PER_DEVICE}
                detail = _("The device already has %(count)s pending commands.") % params
                rejected.append(_rejection(command.device_id, "queue-full", detail))
        if not accepted:
            raise AllRejected(rejected)
        batch.refused = rejected
        batch.expires_at = max(command.expires_at for command in accepted)
        batch.save(force_insert=True)
        Command.objects.bulk_create(accepted)
        owners = Counter(command.device.user_id for command in accepted)
        _record("command.sent_to_many", batch, owners, now)
    return batch


def _record(action: str, batch: CommandBatch, owners: Mapping[UUID, int], now: datetime) -> None:
    """Record an audit event for each owner of the devices, with the number of their devices."""
    for owner, count in owners.items():
        audit.record(
            action,
            target=batch,
            name=batch.command_name,
            owner=User(pk=owner),
            after={"devices": count},
            now=now,
        )


def _find_duplicate(batch: CommandBatch) -> CommandBatch | None:
    duplicate = CommandBatch.objects.filter(
        issued_by=batch.issued_by, idempotency_key=batch.idempotency_key
    ).first()
    if duplicate and bytes(duplicate.request_digest or b"") != batch.request_digest:
        raise idempotency_keys.IdempotencyKeyReused
    return duplicate


def _schema_rejection(device: UUID, error: strict_json.InvalidJSONValue) -> dict[str, Any]:
    errors = [fault._asdict() for fault in error.faults]
    detail = _("This device type does not accept this command or payload.")
    code = error.faults[0].code if error.faults[0].pointer == "/command_name" else "invalid"
    return {**_rejection(device, code, detail), "errors": errors}


def _rejection(device: UUID, code: str, detail: str) -> dict[str, Any]:
    return {"device_id": str(device), "code": code, "detail": detail, "errors": []}


def delete_for_user(user: User) -> None:
    """Delete the batches of a user whose account is deleted. Commands are deleted with their
    devices.
    """
    CommandBatch.objects.filter(issued_by=user).delete()
