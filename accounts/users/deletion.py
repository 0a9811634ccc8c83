"""How somebody leaves: the account at once, its row once nothing hangs on it any more."""

from datetime import datetime
from uuid import uuid4

from django.db import transaction

from accounts.audit import log as audit
from accounts.mfa import services as mfa
from accounts.models import NAME_OF_CLOSED, Registration, User, spelled
from accounts.users import access


class LastSuperuserError(Exception):
    """Nobody would be left who may administer the site."""


def close_account(user: User, *, now: datetime) -> None:
    """End an account and make its name and address free. Nobody can sign in with it any more, and
    what it had issued is refused.

    Raises LastAdministrator.
    """
    with transaction.atomic():
        # Of two who leave at once the second sees that the first has gone.
        administrators = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")
        if list(administrators.select_for_update().values_list("pk", flat=True)) == [user.pk]:
            raise LastSuperuserError
        User.objects.lock(user)
        mfa.disable(user)
        access.end_access(user)
        audit.delete_for_user(user)
        user.tokens.all().delete()
        user.invitations.all().delete()
        Registration.objects.filter(
            spelled("username", user.username) | spelled("email", user.email)
        ).delete()
        user.groups.clear()
        user.user_permissions.clear()
        # Not a word of what was here before is left, but the row that devices refer to.
        gone = User(
            pk=user.pk,
            # Nobody can have taken it before: it is not known before.
            username=f"{NAME_OF_CLOSED}{uuid4().hex}",
            email=f"{user.pk.hex}@deleted.invalid",
            is_active=False,
            access_generation=user.access_generation,
            created_at=user.created_at,
            deleted_at=now,
        )
        gone.set_unusable_password()
        gone.save(force_update=True)


def delete_closed_account(user: User) -> None:
    """Remove the row of a closed account that has no devices left, and its trail."""
    with transaction.atomic():
        if User.objects.exclude(deleted_at=None).filter(pk=user.pk).exists():
            audit.delete_for_user(user)
            User.objects.filter(pk=user.pk).delete()
            audit.record("user.deleted")
