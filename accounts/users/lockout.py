"""Lockouts after too many failed attempts."""

from datetime import datetime

from django.db import transaction

from accounts import throttling
from accounts.audit import log as audit
from accounts.models import User
from accounts.users import permissions


def is_locked(user: User, *, now: datetime) -> bool:
    """Return whether a rate limit currently prevents the user from signing in."""
    return throttling.is_locked_out(user, now=now)


def unlock(user: User, *, actor: User) -> None:
    """Clear the lockout of the user. Raises UserPermissionDenied."""
    if not permissions.can_change_user(actor, user):
        raise permissions.UserPermissionDenied
    with transaction.atomic():
        throttling.clear_lockout(user)
        audit.record("user.unlocked", target=user)
