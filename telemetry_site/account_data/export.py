"""The data export: one ZIP archive with all data of a user. Each table is included as JSON and as
CSV, and the readings of each device.

Rows are read and written one by one, so the memory does not depend on the number of readings.
"""

import csv
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.http import FileResponse
from django.utils import timezone
from psycopg import errors

from accounts.audit import log as audit
from accounts.models import Archive, AuditEvent, Registration, SecondFactor, Session, Token, User
from accounts.users import data_exports
from commands.models import Command, CommandBatch
from common import quotas
from devices.models import Device, DeviceToken, Refusal
from telemetry.models import Key, RetentionRule
from telemetry.transfer import export

logger = logging.getLogger(__name__)

Row = dict[str, Any]
T = TypeVar("T")
ROWS = 500
"""Rows that are fetched at a time."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
README = """\
This archive contains all data of the user {name} on {site} at {time}.

Each table is included as JSON and as CSV with the same columns. Times are in UTC. Tokens and
passwords are not included; of each token the archive has the prefix and the label. The readings of
each device are in readings/, as NDJSON and as CSV. The file names start with the first characters
of the device's id and its name. Both formats can be imported again. In CSV, a text that a
spreadsheet could read as a formula starts with '.
"""
FORMATS: tuple[export.Format, ...] = ("ndjson", "csv")


class Stopped(Exception):
    """The process must stop; the data export is not complete."""


def build_pending(*, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Build the pending data exports, the oldest request first.

    Only one process builds at a time. Once `should_stop` is true, stop: the interrupted data export
    stays pending, and the next call starts it again.
    """
    with data_exports.export_lock() as is_only_builder:
        if not is_only_builder:
            return
        data_exports.delete_drafts()
        data_exports.fail_overdue(now=timezone.now())
        pending = Archive.objects.filter(status=Archive.Status.PENDING)
        for archive in pending.select_related("user").order_by("requested_at"):
            if should_stop():
                return
            _build(archive, should_stop)


def _build(archive: Archive, should_stop: Callable[[], bool]) -> None:
    draft = data_exports.export_dir() / f"{archive.pk}.draft"
    try:
        draft.touch(mode=0o600)
        write_export(archive.user, draft, now=timezone.now(), should_stop=should_stop)
        data_exports.mark_ready(archive, draft, now=timezone.now())
    except quotas.DiskFull:
        logger.error("data export %s failed: the disk is full", archive.pk)
        data_exports.mark_failed(archive, now=timezone.now())
    except Stopped:
        logger.info("data export %s is interrupted and will be started again", archive.pk)
    except (InterfaceError, OperationalError) as error:
        # After a lost connection the data export stays pending. A statement timeout is a failure.
        if not isinstance(error.__cause__, errors.QueryCanceled):
            raise
        logger.exception("data export %s failed: a statement took too long", archive.pk)
        data_exports.mark_failed(archive, now=timezone.now())
    except Exception:
        logger.exception("data export %s failed", archive.pk)
        data_exports.mark_failed(archive, now=timezone.now())
    finally:
        draft.unlink(missing_ok=True)


def write_export(
    user: User, path: Path, *, now: datetime, should_stop: Callable[[], bool] = lambda: False
) -> None:
    """Write the data export of a user to a file. Raises quotas.DiskFull, or Stopped soon after
    `should_stop` is true.
    """
    with ZipFile(path, "w") as archive:
        readme = README.format(site=settings.PUBLIC_URL, name=user.username, time=now.isoformat())
        with _member(archive, "README.txt", now) as file:
            file.write(readme.encode())
        for name, table in TABLES.items():
            with _member(archive, f"{name}.json", now) as file:
                _write_json(file, _until(should_stop, table.rows(user)))
            with _member(archive, f"{name}.csv", now) as file:
                _write_csv(file, table.fields, _until(should_stop, table.rows(user)))
        for device in Device.objects.visible_to(user).order_by("created_at").iterator():
            for format in FORMATS:
                name = f"readings/{str(device.pk)[:8]} {export.file_name(device, format)}"
                chunks = export.export_readings(export.Selection(device), format=format)
                with _member(archive, name, now) as file, closing(chunks):
                    for chunk in _until(should_stop, chunks):
                        file.write(chunk)


def _until(should_stop: Callable[[], bool], items: Iterable[T]) -> Iterator[T]:
    """Yield the items. Raises quotas.DiskFull, or Stopped once `should_stop` is true."""
    for item in items:
        if should_stop():
            raise Stopped
        quotas.check_disk()
        yield item


def _member(archive: ZipFile, name: str, now: datetime) -> IO[bytes]:
    """Open a new file in the archive. It may be larger than 4 GiB."""
    info = ZipInfo(name, date_time=now.timetuple()[:6])
    info.compress_type = ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


class Table(NamedTuple):
    """A table of the archive: its columns and the query for the rows of a user."""

    fields: tuple[str, ...]
    rows: Callable[[User], Iterator[Row]]


def _table(model: Any, user_field: str, *fields: str) -> Table:
    """Return the table of a model: the rows whose `user_field` is the user, with these fields."""

    def rows(user: User) -> Iterator[Row]:
        found: QuerySet[Any, Row] = model.objects.filter(**{user_field: user.pk}).values(*fields)
        return found.order_by("pk").iterator(chunk_size=ROWS)

    return Table(fields, rows)


def _all_fields(model: Any, *excluded: str) -> tuple[str, ...]:
    names = [field.attname for field in model._meta.concrete_fields]
    return tuple(name for name in names if name not in excluded)


def _devices(user: User) -> Iterator[Row]:
    yield from Device.objects.visible_to(user).values(*DEVICE).iterator(chunk_size=ROWS)


def _activity(user: User) -> Iterator[Row]:
    for event in AuditEvent.objects.for_owner(user).iterator(chunk_size=ROWS):
        yield {name: getattr(event, name) for name in ACTIVITY}


DEVICE = _all_fields(Device, "user_id", "deleted_at")
ACTIVITY = (
    "created_at",
    "action",
    "actor_name",
    "means",
    "means_name",
    "ip_address_for_owner",
    "target_kind",
    "target_id",
    "target_name",
    "before",
    "after",
)
SECRET_FIELDS = (
    "id",
    "prefix",
    "label",
    "revoked",
    "created_at",
    "expires_at",
    "last_used_at",
)
TABLES: dict[str, Table] = {
    "profile": _table(
        User,
        "pk",
        "id",
        "username",
        "email",
        "email_verified_at",
        "pending_email",
        "time_zone",
        "language",
        "is_staff",
        "created_at",
        "updated_at",
        "last_login",
    ),
    "sessions": _table(
        Session, "user", "id", "address", "user_agent", "created_at", "last_seen_at", "expires_at"
    ),
    "second_factor": _table(SecondFactor, "user", "created_at"),
    "invitations": _table(Registration, "invited_by", "email", "created_at", "expires_at"),
    "tokens": _table(Token, "user", *SECRET_FIELDS, "scope", "access", "used_at"),
    "devices": Table(DEVICE, _devices),
    "device_tokens": _table(DeviceToken, "device__user", "device_id", *SECRET_FIELDS),
    "keys": _table(
        Key,
        "device__user",
        "device_id",
        "telemetry_type",
        "key",
        "since",
        "label",
        "unit",
        "decimals",
    ),
    "retention": _table(
        RetentionRule, "device__user", "device_id", "raw_days", "hour_days", "day_days"
    ),
    "refusals": _table(Refusal, "device__user", *_all_fields(Refusal, "id", "request_id")),
    "commands": _table(Command, "device__user", *_all_fields(Command)),
    "command_batches": _table(
        CommandBatch,
        "issued_by",
        "id",
        "command_name",
        "payload",
        "created_at",
        "expires_at",
        "cancelled_at",
        "asked",
        "refused",
    ),
    "activity": Table(ACTIVITY, _activity),
}
"""The tables of the archive; the readings are added separately."""


def _write_json(file: IO[bytes], rows: Iterable[Row]) -> None:
    """Write a JSON array with one row per line."""
    separator = b"[\n"
    for row in rows:
        file.write(separator + json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False).encode())
        separator = b",\n"
    file.write(b"\n]\n" if separator == b",\n" else b"[]\n")


def _write_csv(file: IO[bytes], fields: Iterable[str], rows: Iterable[Row]) -> None:
    text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(fields)
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    text.flush()
    text.detach()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def download_response(user: User, *, now: datetime) -> FileResponse:
    """Return the data export of the user as a download. Raises Archive.DoesNotExist."""
    found = data_exports.get_ready(user, now=now)
    try:
        file = data_exports.file_path(found).open("rb")
    except FileNotFoundError:
        raise Archive.DoesNotExist from None
    audit.record("user.data_fetched", target=user, now=now)
    name = f"telemetry-{user.username}-{found.requested_at:%Y-%m-%d}.zip"
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")
