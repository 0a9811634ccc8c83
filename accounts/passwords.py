"""Passwords: the only writer of them after a user was made."""

from django.db import transaction

from accounts import tokens
from accounts.models import User


def change(user: User, password: str | None) -> None:
    """Store a new password, already judged by the validators, and end all that the old one opened.
    With None nobody can sign in with a password any more.

    Sessions end because Django ties them to the password; tokens and unused links are revoked
    here. Devices keep their own tokens, or the fleet would go dark.
    """
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password", "updated_at"])
        tokens.revoke_all(user)
