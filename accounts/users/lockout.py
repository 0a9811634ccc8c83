"""People who have tried too often: who they are, and how staff let them in again."""

from datetime import datetime

from django.db import transaction

from accounts import throttling
from accounts.audit import log as audit
from accounts.models import User
from accounts.users import permissions


def is_locked(user: User, *, now: datetime) -> bool:
    """Whether something keeps the user from signing in until a window of time has passed."""
    return throttling.is_locked_out(user, now=now)


def unlock(user: User, *, by: User) -> None:
    """Let the user try again now. Raises NotAllowed."""
    if not permissions.can_change_user(by, user):
        raise permissions.UserPermissionDenied
    with transaction.atomic():
        throttling.clear_lockout(user)
        audit.record("user.unlocked", target=user)
