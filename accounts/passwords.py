"""Passwords: the only writer of them after a user was made."""

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, sessions, tokens
from accounts.models import User

LONGEST_PASSWORD = 1024
"""Characters; a longer one only costs time to hash."""


class WrongPassword(Exception):
    """Not the password of the user who is signed in."""


class MaximumLengthValidator:
    """No password that could be set and then not be typed into the sign-in form."""

    def validate(self, password: str, user: User | None = None) -> None:
        if len(password) > LONGEST_PASSWORD:
            raise ValidationError(
                f"A password has {LONGEST_PASSWORD} characters at the most.", code="too-long"
            )

    def get_help_text(self) -> str:
        return f"Your password can have {LONGEST_PASSWORD} characters at the most."


def confirm(user: User, password: str) -> None:
    """Make sure that it is the user who is signed in. Raises WrongPassword."""
    if not user.check_password(password):
        raise WrongPassword


def change(user: User, password: str | None) -> None:
    """Store a new password, already judged by the validators, and end all that the old one opened.
    With None nobody can sign in with a password any more.

    Sessions end, as do tokens and unused links; whoever changes their own password signs this
    browser in again. Devices keep their own tokens, or the fleet would go dark.
    """
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password", "updated_at"])
        audit.record("password.removed" if password is None else "password.changed", target=user)
        tokens.revoke_all(user)
        sessions.end_all(user)
