"""Who may change whom among people, and who may come in at all."""

from django.db import transaction
from django.utils import timezone

from accounts.audit import log as audit
from accounts.models import User
from accounts.users import access


class UserPermissionDenied(Exception):
    """Nobody below a superuser changes those who are staff, and nobody shuts themselves out."""


def can_change_user(actor: User, subject: User) -> bool:
    """Whether somebody may change another's name, address, password or standing.

    With any of them comes all that the other may do, so whoever is no superuser may change only
    those who have no rights to lend. Nobody changes a closed account.
    """
    if subject.deleted_at is not None:
        return False
    return actor.is_superuser or not (subject.is_staff or subject.is_superuser)


def deactivate(user: User, *, by: User) -> None:
    """Shut somebody out: their sessions and tokens end, and their devices' tokens are refused until
    `reactivate`. Raises NotAllowed.
    """
    if user.pk == by.pk:
        raise UserPermissionDenied
    _set_active(user, False, by=by)


def reactivate(user: User, *, by: User) -> None:
    """Let somebody and their devices in again; they sign in anew. Raises NotAllowed."""
    _set_active(user, True, by=by)


def revoke_access(user: User, *, by: User) -> None:
    """End somebody's sessions, tokens, mailed links and pending change of address; they sign in
    again as before. Raises NotAllowed.
    """
    if not can_change_user(by, user):
        raise UserPermissionDenied
    access.end_access(user)


def _set_active(user: User, active: bool, *, by: User) -> None:
    if not can_change_user(by, user):
        raise UserPermissionDenied
    with transaction.atomic():
        # The account may have been closed since it was read.
        living = User.objects.filter(pk=user.pk, deleted_at=None)
        if not living.update(is_active=active, updated_at=timezone.now()):
            raise UserPermissionDenied
        user.is_active = active
        if not active:
            access.end_access(user)
        audit.record("user.reactivated" if active else "user.deactivated", target=user)
