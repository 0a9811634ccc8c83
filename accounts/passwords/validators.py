"""Validators of new passwords."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import User

MAX_PASSWORD_LENGTH = 1024
"""Characters; a longer one only costs time to hash."""


class MaximumLengthValidator:
    """No password that could be set and then not be typed into the sign-in form."""

    def validate(self, password: str, user: User | None = None) -> None:
        if len(password) > MAX_PASSWORD_LENGTH:
            message = _("A password has %(count)s characters at the most.")
            raise ValidationError(message % {"count": MAX_PASSWORD_LENGTH}, code="too-long")

    def get_help_text(self) -> str:
        message = _("Your password can have %(count)s characters at the most.")
        return message % {"count": MAX_PASSWORD_LENGTH}
