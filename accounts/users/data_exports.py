"""Archives of what belongs to somebody: asked for, made, fetched for a while, forgotten.

The only writer of `archives` and of the folder beside the database that the files are in. What is
in a file, telemetry_site.archive knows.
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
NEXT_AFTER = timedelta(days=1)
"""How long after a request that succeeded a user may ask for another archive."""
GIVEN_UP_AFTER = timedelta(days=1)
"""An archive that is not ready by then fails: making it may be what ends the worker each time."""


class TooManyArchives(Exception):
    """The user has an archive of the last day. Retry in `retry_after` seconds."""

    def __init__(self, until: datetime, now: datetime) -> None:
        super().__init__(until)
        self.until = until
        self.retry_after = math.ceil((until - now).total_seconds())


def export_dir() -> Path:
    """Where the files are, for this system user's eyes only."""
    path: Path = settings.DATA_EXPORT_DIR
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def file_path(archive: Archive) -> Path:
    """The archive's file, whether or not it is there yet."""
    return export_dir() / f"{archive.pk}.zip"


def request_export(user: User, *, now: datetime) -> Archive:
    """Have an archive made in place of the one there was. While one is being made that is it.

    Raises TooManyArchives if the user's archive is ready and was asked for within the last day,
    and quotas.DiskFull.
    """
    with transaction.atomic():
        # Two requests at once are answered one after the other.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        waiting = Archive.objects.filter(user=user, status=Status.WAITING).first()
        if waiting:
            return waiting
        recent = Archive.objects.filter(user=user, status=Status.READY).first()
        if recent and (until := next_after(recent)) > now:
            raise TooManyArchives(until, now)
        quotas.check_disk()
        remove(Archive.objects.filter(user=user))
        audit.record("user.data_requested", target=user, now=now)
        return Archive.objects.create(user=user, requested_at=now)


def next_after(archive: Archive) -> datetime:
    """When its user may ask for another archive in place of one that is ready."""
    return archive.requested_at + NEXT_AFTER


def get_for_user(user: User, *, now: datetime) -> Archive | None:
    """The user's archive: being made, there to be fetched, or failed."""
    return Archive.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=user).first()


def get_ready(user: User, *, now: datetime) -> Archive:
    """The user's archive that can be fetched now. Raises Archive.DoesNotExist."""
    return Archive.objects.get(user=user, status=Status.READY, expires_at__gt=now)


@contextmanager
def making() -> Iterator[bool]:
    """Whether this process alone makes archives until the end of the block.

    The lock is on the folder of the files and not in the database: the kernel releases it when the
    process ends, however it ends, and a lost connection does not release it too early.
    """
    lock = os.open(export_dir(), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


def remove_drafts() -> None:
    """Remove the drafts that an interrupted worker left behind; call it only while `making`."""
    for draft in export_dir().glob("*.draft"):
        draft.unlink(missing_ok=True)


def give_up(*, now: datetime) -> None:
    """Fail the archives that wait for longer than GIVEN_UP_AFTER."""
    late = Archive.objects.filter(status=Status.WAITING, requested_at__lte=now - GIVEN_UP_AFTER)
    for archive in late:
        logger.error("archive %s was not made within a day", archive.pk)
        mark_failed(archive, now=now)


def mark_ready(archive: Archive, draft: Path, *, now: datetime) -> None:
    """Offer a file that has been made, unless nobody asks for it any more."""
    with transaction.atomic():
        waiting = Archive.objects.filter(pk=archive.pk, status=Status.WAITING)
        if waiting.update(
            status=Status.READY, size=draft.stat().st_size, expires_at=now + RETENTION
        ):
            draft.replace(file_path(archive))


def mark_failed(archive: Archive, *, now: datetime) -> None:
    """Say that it could not be made; its user may ask again."""
    waiting = Archive.objects.filter(pk=archive.pk, status=Status.WAITING)
    waiting.update(status=Status.FAILED, expires_at=now + RETENTION)


def remove(archives: QuerySet[Archive]) -> None:
    """Remove archives with their files, once this is certain."""
    files = [file_path(archive) for archive in archives]
    archives.delete()
    for file in files:
        transaction.on_commit(partial(file.unlink, missing_ok=True))


def delete_expired(*, now: datetime) -> None:
    """Remove archives that are over their time, and files that belong to none."""
    remove(Archive.objects.filter(expires_at__lte=now))
    known = {str(pk) for pk in Archive.objects.values_list("pk", flat=True)}
    for file in export_dir().iterdir():
        if file.name.partition(".")[0] not in known:
            logger.info("removing %s, which belongs to nobody", file.name)
            file.unlink(missing_ok=True)
