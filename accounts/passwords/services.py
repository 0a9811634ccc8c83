"""Passwords: the only writer of them after a user was made."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import throttling
from accounts.audit import log as audit
from accounts.email import sending, verification
from accounts.mfa import services as mfa
from accounts.models import Token, User
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from accounts.users import access

MOST_CLAIMS = 5
"""Accounts that claim one address and are mailed a link when one asks to reset the password."""


class WrongPassword(Exception):
    """Not the password of the user who is signed in."""


def validate_password(user: User, password: str, *, field: str = "password") -> None:
    """Raise ValidationError, for this field, unless the user may choose this password."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({field: error.error_list}) from None


def check_current_password(user: User, password: str, *, now: datetime) -> None:
    """Make sure that it is the user who is signed in.

    Raises WrongPassword, and TooManyTries for somebody who guesses.
    """
    counters = throttling.password_limits(user.pk)
    throttling.consume(counters, now=now)
    if not is_right(user, password, now=now):
        raise WrongPassword
    throttling.reset(counters)


def is_right(user: User, password: str, *, now: datetime) -> bool:
    """Return whether it is the user's password. Raises TooManyTries (see `check_counted`)."""
    return check_counted(lambda: user.check_password(password), user.pk, now=now)


def check_counted(check: Callable[[], bool], whose: object, *, now: datetime) -> bool:
    """Return what `check`, which hashes a password, says.

    Hashing costs the machine a lot, whether the password is right or wrong. So every check is
    counted by the network it comes from, and the right ones by whose password it is, too: if the
    wrong ones were, a stranger would use up the owner's. They have limits of their own.

    Raises TooManyTries.
    """
    of_network = throttling.of_client("password-check-address", audit.acting_address())
    of_owner = throttling.of_password_check(whose)
    throttling.consume([*of_network, of_owner], now=now)
    right = False
    try:
        right = check()
    finally:
        if not right:
            throttling.refund([of_owner])
    return right


def set_password(user: User, password: str | None, *, keep: Token | None = None) -> None:
    """Store a new password, already judged by the validators, and end all access that was there
    before, but for the token that asked for it. With None nobody can sign in with a password any
    more. The user is told by mail.

    Devices keep their own tokens, or the fleet would go dark. Raises AccessEnded if access ended
    while the old password was checked.
    """
    user.set_password(password)
    with transaction.atomic():
        User.objects.lock(user)
        user.save(update_fields=["password", "updated_at"])
        audit.record("password.removed" if password is None else "password.changed", target=user)
        access.end_access(user, keep_token=keep)
        sending.enqueue("password-changed", user.pk)


def request_reset(email: str) -> None:
    """Have a link mailed to whoever has this address, and one for each account where several claim
    it. For an unknown address as much work is done, and nobody learns which it was: the worker
    finds the other accounts.
    """
    user = User.objects.with_email(email)
    sending.enqueue("password-reset", user.pk if user else uuid4())


def send_resets(user_id: UUID, *, now: datetime) -> None:
    """Mail a link for the user or, where nobody has confirmed the user's address, one for each
    account that claims it, up to MOST_CLAIMS. Each mail names its account. The first account whose
    link is used gets the address (emails.make_room).
    """
    user = User.objects.filter(pk=user_id).first()
    for claim in User.objects.claiming(user.email)[:MOST_CLAIMS] if user else ():
        send_reset(claim.pk, now=now)


def send_reset(user_id: UUID, *, now: datetime) -> None:
    """Mail the user a new link. Older ones work as well, until one of them is used."""
    with transaction.atomic():
        # Held until the secret is stored: it is revoked when the address changes meanwhile.
        user = User.objects.select_for_update().filter(pk=user_id, is_active=True).first()
        if user is None:
            return
        scope = tokens.Scope.PASSWORD_RESET
        _token, secret = tokens.issue(user, scope=scope, now=now, sent_to=user.email)
    link = sending.build_url("password-reset", secret)
    to, language, username = user.email, user.language, user.username
    sending.send_email("password_reset", to=to, language=language, link=link, username=username)


def reset_with_token(secret: token_format.Shown, password: str, *, now: datetime) -> User:
    """Set the password of the user whose link this is; of many at once one succeeds.

    Whoever opened the link reads the user's mail, so the address is proven. The second factor is
    switched off only if it was switched on by somebody who never proved the address: they may have
    registered with the address of somebody else, who could not sign in after the reset. Without
    that condition staff could remove any second factor: they change the address and reset.

    Raises TokenRefused, and ValidationError for the password, after which the link still works.
    """
    user = tokens.get_active(secret, scope=tokens.Scope.PASSWORD_RESET, now=now).user
    validate_password(user, password)
    with transaction.atomic():
        # The user before the token, as everywhere, so that no two wait for each other.
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        tokens.consume(secret, scope=tokens.Scope.PASSWORD_RESET, now=now)
        if mfa.is_of_claimed_address(user):
            mfa.disable(user)
        if user.email_verified_at is None:
            verification.prove(user, user.email, now=now)
        set_password(user, password)
        # Whoever knew the old password may have used these up.
        throttling.reset([throttling.of_password_check(user.pk)])
    return user


def send_password_changed(user_id: UUID) -> None:
    """Tell the user that the password is another one now."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and user.email_verified_at is not None:
        sending.send_email(
            "password_changed",
            to=user.email,
            language=user.language,
            username=user.username,
            link=sending.build_url("password-reset"),
        )
