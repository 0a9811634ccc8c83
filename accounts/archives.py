"""Archives of what belongs to somebody: asked for, made, fetched for a while, forgotten.

The only writer of `archives` and of the folder beside the database that the files are in. What is
in a file, telemetry_site.archive knows.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import audit
from accounts.models import Archive, User

logger = logging.getLogger(__name__)

Status = Archive.Status
KEPT = timedelta(days=3)


def folder() -> Path:
    """Where the files are, for this system user's eyes only."""
    path: Path = settings.ARCHIVES
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def file_of(archive: Archive) -> Path:
    """The archive's file, whether or not it is there yet."""
    return folder() / f"{archive.pk}.zip"


def request(user: User, *, now: datetime) -> Archive:
    """Have an archive made in place of the one there was. While one is being made that is it."""
    with transaction.atomic():
        # Two requests at once are answered one after the other.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        waiting = Archive.objects.filter(user=user, status=Status.WAITING).first()
        if waiting:
            return waiting
        remove(Archive.objects.filter(user=user))
        audit.record("user.data_requested", target=user, now=now)
        return Archive.objects.create(user=user, requested_at=now)


def of(user: User, *, now: datetime) -> Archive | None:
    """The user's archive: being made, there to be fetched, or failed."""
    return Archive.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=user).first()


def ready(user: User, *, now: datetime) -> Archive:
    """The user's archive that can be fetched now. Raises Archive.DoesNotExist."""
    return Archive.objects.get(user=user, status=Status.READY, expires_at__gt=now)


def finish(archive: Archive, draft: Path, *, now: datetime) -> None:
    """Offer a file that has been made, unless nobody asks for it any more."""
    with transaction.atomic():
        waiting = Archive.objects.filter(pk=archive.pk, status=Status.WAITING)
        if waiting.update(status=Status.READY, size=draft.stat().st_size, expires_at=now + KEPT):
            draft.replace(file_of(archive))


def fail(archive: Archive, *, now: datetime) -> None:
    """Say that it could not be made; its user may ask again."""
    waiting = Archive.objects.filter(pk=archive.pk, status=Status.WAITING)
    waiting.update(status=Status.FAILED, expires_at=now + KEPT)


def remove(archives: QuerySet[Archive]) -> None:
    """Remove archives with their files, once this is certain."""
    files = [file_of(archive) for archive in archives]
    archives.delete()
    for file in files:
        transaction.on_commit(partial(file.unlink, missing_ok=True))


def clean(*, now: datetime) -> None:
    """Remove archives that are over their time, and files that belong to none."""
    remove(Archive.objects.filter(expires_at__lte=now))
    known = {str(pk) for pk in Archive.objects.values_list("pk", flat=True)}
    for file in folder().iterdir():
        if file.name.partition(".")[0] not in known:
            logger.info("removing %s, which belongs to nobody", file.name)
            file.unlink(missing_ok=True)
