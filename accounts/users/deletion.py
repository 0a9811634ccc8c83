"""Account deletion: access ends immediately; the row is deleted when nothing references it."""

from datetime import datetime
from uuid import uuid4

from django.db import transaction

from accounts.audit import log as audit
from accounts.mfa import services as mfa
from accounts.models import CLOSED_USERNAME_PREFIX, Registration, User, equals_ignoring_case
from accounts.users import access


class LastSuperuserError(Exception):
    """The user is the last active superuser."""


def close_account(user: User, *, now: datetime) -> None:
    """Close an account and release its username and e-mail address.

    Sign-in is no longer possible, and all tokens of the account are rejected. Raises
    LastSuperuserError.
    """
    with transaction.atomic():
        # The lock makes two concurrent deletions see each other.
        superusers = User.objects.active().filter(is_superuser=True).order_by("pk")
        if list(superusers.select_for_update().values_list("pk", flat=True)) == [user.pk]:
            raise LastSuperuserError
        User.objects.lock(user)
        mfa.disable(user)
        access.end_access(user)
        audit.delete_for_user(user)
        user.tokens.all().delete()
        user.invitations.all().delete()
        Registration.objects.filter(
            equals_ignoring_case("username", user.username)
            | equals_ignoring_case("email", user.email)
        ).delete()
        user.groups.clear()
        user.user_permissions.clear()
        # Overwrite all personal data. Keep the row because devices reference it.
        closed = User(
            pk=user.pk,
            # Random, so that it cannot be taken.
            username=f"{CLOSED_USERNAME_PREFIX}{uuid4().hex}",
            email=f"{user.pk.hex}@deleted.invalid",
            is_active=False,
            access_generation=user.access_generation,
            created_at=user.created_at,
            deleted_at=now,
        )
        closed.set_unusable_password()
        closed.save(force_update=True)


def delete_closed_account(user: User) -> None:
    """Delete the row and the audit trail of a closed account that has no devices left."""
    with transaction.atomic():
        if User.objects.deleted().filter(pk=user.pk).exists():
            audit.delete_for_user(user)
            User.objects.filter(pk=user.pk).delete()
            audit.record("user.deleted")
