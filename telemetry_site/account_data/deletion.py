"""Account deletion: access ends immediately; the worker deletes the remaining data later."""

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
    """Delete the account of a user. Sign-in, the user's tokens and those of their devices are
    rejected from now on. The worker deletes the remaining data (`purge_deleted_users`).

    Raises WrongPassword, RateLimitExceeded or LastSuperuserError.
    """
    passwords.check_current_password(user, password, now=now)
    with transaction.atomic():
        device_services.soft_delete_all(user, now=now)
        batches.delete_for_user(user)
        data_exports.delete(Archive.objects.filter(user=user))
        deletion.close_account(user, now=now)


def purge_deleted_users(*, now: datetime, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Delete the rows of users who have deleted their account, once their devices are purged.

    Return after the current user once `should_stop` is true.
    """
    for user in User.objects.deleted():
        if should_stop():
            return
        # A request in progress during the deletion may have added a device afterwards.
        device_services.soft_delete_all(user, now=now)
        if not Device.objects.filter(user=user).exists():
            deletion.delete_closed_account(user)
            _delete_job_rows(user)


def _delete_job_rows(user: User) -> None:
    """Delete finished jobs whose arguments contain the id of the user."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM procrastinate_jobs
            WHERE strpos(args::text, %s) > 0 AND status NOT IN ('todo', 'doing')
            """,
            [str(user.pk)],
        )
