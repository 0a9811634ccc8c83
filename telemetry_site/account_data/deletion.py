"""Deleting one's account with all that is in it: gone at once, and cleared by the worker."""

from collections.abc import Callable
from datetime import datetime

from django.db import connection, transaction

from accounts.models import Archive, User
from accounts.passwords import services as passwords
from accounts.users import data_exports, deletion
from commands.batches import services as batches
from devices import services as device_services
from devices.models import Device


def delete_account(user: User, *, password: str, now: datetime) -> None:
    """Delete a user's account. From here on they cannot sign in, and their tokens and their
    devices' are refused; the worker clears what is left (`clear`).

    Raises WrongPassword, TooManyTries, LastAdministrator.
    """
    passwords.check_current_password(user, password, now=now)
    with transaction.atomic():
        device_services.soft_delete_all(user, now=now)
        batches.delete_for_user(user)
        data_exports.remove(Archive.objects.filter(user=user))
        deletion.close_account(user, now=now)


def purge_deleted_users(*, now: datetime, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Forget the users who have left and whose devices are purged by now.

    Returns after the current user once `should_stop` is true.
    """
    for user in User.objects.exclude(deleted_at=None):
        if should_stop():
            return
        # A request that was under way when its user left may have added one yet.
        device_services.soft_delete_all(user, now=now)
        if not Device.objects.filter(user=user).exists():
            deletion.delete_closed_account(user)
            _delete_job_rows(user)


def _delete_job_rows(user: User) -> None:
    """Remove what the worker has done for somebody, where it names them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM procrastinate_jobs
            WHERE strpos(args::text, %s) > 0 AND status NOT IN ('todo', 'doing')
            """,
            [str(user.pk)],
        )
