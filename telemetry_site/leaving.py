"""Deleting one's account with all that is in it: gone at once, and cleared by the worker."""

from collections.abc import Callable
from datetime import datetime

from django.db import connection, transaction

from accounts import archives, closing, passwords
from accounts.models import Archive, User
from commands import batches
from devices import enrolment
from devices.models import Device


def leave(user: User, *, password: str, now: datetime) -> None:
    """Delete a user's account. From here on they cannot sign in, and their tokens and their
    devices' are refused; the worker clears what is left (`clear`).

    Raises WrongPassword, TooManyTries, LastAdministrator.
    """
    passwords.confirm(user, password, now=now)
    with transaction.atomic():
        enrolment.decommission_all(user, now=now)
        batches.forget(user)
        archives.remove(Archive.objects.filter(user=user))
        closing.close(user, now=now)


def clear(*, now: datetime, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Forget the users who have left and whose devices are purged by now.

    Returns after the current user once `should_stop` is true.
    """
    for user in User.objects.exclude(deleted_at=None):
        if should_stop():
            return
        # A request that was under way when its user left may have added one yet.
        enrolment.decommission_all(user, now=now)
        if not Device.objects.filter(user=user).exists():
            closing.forget(user)
            _forget_jobs(user)


def _forget_jobs(user: User) -> None:
    """Remove what the worker has done for somebody, where it names them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM procrastinate_jobs
            WHERE strpos(args::text, %s) > 0 AND status NOT IN ('todo', 'doing')
            """,
            [str(user.pk)],
        )
