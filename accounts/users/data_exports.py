"""Data exports: requested by a user, written by the worker, downloaded, deleted after expiry.

The only writer of the table `archives` and of the export directory.
telemetry_site.account_data.export writes the content of the files.
"""

import fcntl
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.audit import log as audit
from accounts.models import Archive, User
from common import quotas

logger = logging.getLogger(__name__)

Status = Archive.Status
RETENTION = timedelta(days=3)
REQUEST_INTERVAL = timedelta(days=1)
"""Minimum time between two successful requests of a user."""
MAX_PENDING_TIME = timedelta(days=1)
"""A data export that is not ready by then fails, because writing it may crash the worker."""


class TooManyExports(Exception):
    """The user has a data export of the last day. Retry in `retry_after` seconds."""

    def __init__(self, until: datetime, now: datetime) -> None:
        super().__init__(until)
        self.until = until
        self.retry_after = math.ceil((until - now).total_seconds())


def export_dir() -> Path:
    """Return the directory of the files. Only the system user of the server can read it."""
    path: Path = settings.DATA_EXPORT_DIR
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def file_path(archive: Archive) -> Path:
    """Return the path of the file, which may not exist yet."""
    return export_dir() / f"{archive.pk}.zip"


def request_export(user: User, *, now: datetime) -> Archive:
    """Request a data export, which replaces the previous one. Return a pending export unchanged.

    Raises TooManyExports if the current export is ready and was requested within the last day, and
    quotas.DiskFull.
    """
    with transaction.atomic():
        # The lock serializes concurrent requests of the same user.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        pending = Archive.objects.filter(user=user, status=Status.PENDING).first()
        if pending:
            return pending
        recent = Archive.objects.filter(user=user, status=Status.READY).first()
        if recent and (until := next_request_at(recent)) > now:
            raise TooManyExports(until, now)
        quotas.check_disk()
        delete(Archive.objects.filter(user=user))
        audit.record("user.data_requested", target=user, now=now)
        return Archive.objects.create(user=user, requested_at=now)


def next_request_at(archive: Archive) -> datetime:
    """Return when the user may request the next data export."""
    return archive.requested_at + REQUEST_INTERVAL


def get_for_user(user: User, *, now: datetime) -> Archive | None:
    """Return the data export of the user in any status, unless it is expired."""
    return Archive.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=user).first()


def get_ready(user: User, *, now: datetime) -> Archive:
    """Return the data export that the user can download. Raises Archive.DoesNotExist."""
    return Archive.objects.get(user=user, status=Status.READY, expires_at__gt=now)


@contextmanager
def export_lock() -> Iterator[bool]:
    """Lock the export directory for the enclosed block. Yield False if another process has it.

    It is a file lock, not a lock in the database: the kernel releases it whenever the process ends,
    and a lost database connection does not release it too early.
    """
    lock = os.open(export_dir(), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


def delete_drafts() -> None:
    """Delete the drafts of an interrupted worker. Call it only inside `export_lock`."""
    for draft in export_dir().glob("*.draft"):
        draft.unlink(missing_ok=True)


def fail_overdue(*, now: datetime) -> None:
    """Mark the data exports as failed that are pending for longer than MAX_PENDING_TIME."""
    overdue = Archive.objects.filter(
        status=Status.PENDING, requested_at__lte=now - MAX_PENDING_TIME
    )
    for archive in overdue:
        logger.error("data export %s was not ready within a day", archive.pk)
        mark_failed(archive, now=now)


def mark_ready(archive: Archive, draft: Path, *, now: datetime) -> None:
    """Publish the draft, unless the request was deleted meanwhile."""
    with transaction.atomic():
        pending = Archive.objects.filter(pk=archive.pk, status=Status.PENDING)
        if pending.update(
            status=Status.READY, size=draft.stat().st_size, expires_at=now + RETENTION
        ):
            draft.replace(file_path(archive))


def mark_failed(archive: Archive, *, now: datetime) -> None:
    """Mark a data export as failed. The user can request it again."""
    pending = Archive.objects.filter(pk=archive.pk, status=Status.PENDING)
    pending.update(status=Status.FAILED, expires_at=now + RETENTION)


def delete(archives: QuerySet[Archive]) -> None:
    """Delete data exports, and their files when the transaction is committed."""
    files = [file_path(archive) for archive in archives]
    archives.delete()
    for file in files:
        transaction.on_commit(partial(file.unlink, missing_ok=True))


def delete_expired(*, now: datetime) -> None:
    """Delete expired data exports, and files without a row."""
    delete(Archive.objects.filter(expires_at__lte=now))
    known = {str(pk) for pk in Archive.objects.values_list("pk", flat=True)}
    for file in export_dir().iterdir():
        if file.name.partition(".")[0] not in known:
            logger.info("removing %s, which belongs to no data export", file.name)
            file.unlink(missing_ok=True)
