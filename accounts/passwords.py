"""Passwords: the only writer of them after a user was made."""

from datetime import datetime
from uuid import UUID, uuid4

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit, mail, sessions, throttles, tokens
from accounts.models import Token, User

LONGEST_PASSWORD = 1024
"""Characters; a longer one only costs time to hash."""


class WrongPassword(Exception):
    """Not the password of the user who is signed in."""


class MaximumLengthValidator:
    """No password that could be set and then not be typed into the sign-in form."""

    def validate(self, password: str, user: User | None = None) -> None:
        if len(password) > LONGEST_PASSWORD:
            message = _("A password has %(count)s characters at the most.")
            raise ValidationError(message % {"count": LONGEST_PASSWORD}, code="too-long")

    def get_help_text(self) -> str:
        message = _("Your password can have %(count)s characters at the most.")
        return message % {"count": LONGEST_PASSWORD}


def judge(user: User, password: str, *, field: str = "password") -> None:
    """Raise ValidationError, for this field, unless the user may choose this password."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({field: error.error_list}) from None


def confirm(user: User, password: str, *, now: datetime) -> None:
    """Make sure that it is the user who is signed in.

    Raises WrongPassword, and TooManyTries for somebody who guesses.
    """
    counters = throttles.of_password(user.pk)
    throttles.take(counters, now=now)
    if not user.check_password(password):
        raise WrongPassword
    throttles.forget(counters)


def change(user: User, password: str | None, *, keep: Token | None = None) -> None:
    """Store a new password, already judged by the validators, and end all that the old one opened,
    but for the token that asked for it. With None nobody can sign in with a password any more.
    The user is told by mail.

    Sessions end, as do tokens and unused links; whoever changes their own password signs this
    browser in again. Devices keep their own tokens, or the fleet would go dark.
    """
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password", "updated_at"])
        audit.record("password.removed" if password is None else "password.changed", target=user)
        tokens.revoke_all(user, keep=keep)
        sessions.end_all(user)
        mail.later("password-changed", user.pk)


def request_reset(email: str) -> None:
    """Have a link mailed to whoever has this address. For an unknown one as much work is done, and
    nobody learns which of the two it was.
    """
    ids = User.objects.filter(email__iexact=email).values_list("pk", flat=True)
    mail.later("password-reset", ids.first() or uuid4())


def send_reset(user_id: UUID, *, now: datetime) -> None:
    """Mail the user a new link. Older ones work as well, until one of them is used."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None:
        _token, secret = tokens.issue(user, scope=tokens.Scope.PASSWORD_RESET, now=now)
        link = mail.link("password-reset", secret)
        mail.send(
            "password_reset",
            to=user.email,
            language=user.language,
            link=link,
            username=user.username,
        )


def reset(secret: str, password: str, *, now: datetime) -> User:
    """Set the password of the user whose link this is; of many at once one succeeds.

    Whoever opened the link reads the user's mail, so the address is proven. Raises TokenRefused,
    and ValidationError for the password, after which the link still works.
    """
    user = tokens.find(secret, scope=tokens.Scope.PASSWORD_RESET, now=now).user
    judge(user, password)
    with transaction.atomic():
        user = tokens.redeem(secret, scope=tokens.Scope.PASSWORD_RESET, now=now)
        change(user, password)
        User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=now)
    return user


def send_notice(user_id: UUID) -> None:
    """Tell the user that the password is another one now."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and user.email_verified_at is not None:
        mail.send(
            "password_changed",
            to=user.email,
            language=user.language,
            username=user.username,
            link=mail.link("password-reset"),
        )
