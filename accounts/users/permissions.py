"""Permissions to change other users; deactivation and reactivation."""

from django.db import transaction
from django.utils import timezone

from accounts.audit import log as audit
from accounts.models import User
from accounts.users import access


class UserPermissionDenied(Exception):
    """The actor may not change this user. No user may deactivate their own account."""


def can_change_user(actor: User, user: User) -> bool:
    """Return whether `actor` may change the name, e-mail address, password or status of `user`.

    With such a change the actor could sign in as this user. Therefore only superusers may change
    staff and superusers. A deleted account cannot be changed.
    """
    if user.deleted_at is not None:
        return False
    return actor.is_superuser or not (user.is_staff or user.is_superuser)


def deactivate(user: User, *, actor: User) -> None:
    """Deactivate a user. Their sessions and tokens end.

    The tokens of their devices are rejected until `reactivate`. Raises UserPermissionDenied.
    """
    if user.pk == actor.pk:
        raise UserPermissionDenied
    _set_active(user, False, actor=actor)


def reactivate(user: User, *, actor: User) -> None:
    """Reactivate a user and their devices. The user must sign in again.

    Raises UserPermissionDenied.
    """
    _set_active(user, True, actor=actor)


def revoke_access(user: User, *, actor: User) -> None:
    """End the sessions, tokens, mailed links and pending change of e-mail address of a user.

    The user can sign in again. Raises UserPermissionDenied.
    """
    if not can_change_user(actor, user):
        raise UserPermissionDenied
    access.end_access(user)


def _set_active(user: User, active: bool, *, actor: User) -> None:
    if not can_change_user(actor, user):
        raise UserPermissionDenied
    with transaction.atomic():
        # The account may have been deleted since it was read.
        row = User.objects.not_deleted().filter(pk=user.pk)
        if not row.update(is_active=active, updated_at=timezone.now()):
            raise UserPermissionDenied
        user.is_active = active
        if not active:
            access.end_access(user)
        audit.record("user.reactivated" if active else "user.deactivated", target=user)
