"""Password validators."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import User

MAX_PASSWORD_LENGTH = 1024
"""In characters. More would not be safer, but would take longer to hash."""


class MaximumLengthValidator:
    """Reject passwords that are too long for the sign-in form."""

    def validate(self, password: str, user: User | None = None) -> None:
        if len(password) > MAX_PASSWORD_LENGTH:
            message = _("A password has at most %(count)s characters.")
            raise ValidationError(message % {"count": MAX_PASSWORD_LENGTH}, code="too-long")

    def get_help_text(self) -> str:
        message = _("Your password can have at most %(count)s characters.")
        return message % {"count": MAX_PASSWORD_LENGTH}
