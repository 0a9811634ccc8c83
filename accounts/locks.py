"""People who have tried too often: who they are, and how staff let them in again."""

from datetime import datetime

from django.db import transaction

from accounts import audit, rights, throttles
from accounts.models import User


def is_locked(user: User, *, now: datetime) -> bool:
    """Whether something keeps the user from signing in until a window of time has passed."""
    return throttles.keeps_out(user, now=now)


def unlock(user: User, *, by: User) -> None:
    """Let the user try again now. Raises NotAllowed."""
    if not rights.may_change(by, user):
        raise rights.NotAllowed
    with transaction.atomic():
        throttles.let_in(user)
        audit.record("user.unlocked", target=user)
