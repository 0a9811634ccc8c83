"""Passwords: validate, check, change, reset. The only writer after the creation of a user."""

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

MAX_CLAIMS = 5
"""Maximum number of accounts with one unverified e-mail address that get a reset link."""


class WrongPassword(Exception):
    """The password of the signed-in user is wrong."""


def validate_password(user: User, password: str, *, field: str = "password") -> None:
    """Raise ValidationError for `field` if the validators reject the password."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({field: error.error_list}) from None


def check_current_password(user: User, password: str, *, now: datetime) -> None:
    """Check the password of the signed-in user.

    Raises WrongPassword, and RateLimitExceeded after too many wrong passwords.
    """
    counters = throttling.password_limits(user.pk)
    throttling.consume(counters, now=now)
    if not is_correct(user, password, now=now):
        raise WrongPassword
    throttling.reset(counters)


def is_correct(user: User, password: str, *, now: datetime) -> bool:
    """Return whether the password is correct. Raises RateLimitExceeded (`check_rate_limited`)."""
    return check_rate_limited(lambda: user.check_password(password), user.pk, now=now)


def check_rate_limited(check: Callable[[], bool], owner_id: object, *, now: datetime) -> bool:
    """Return the result of `check`, which hashes a password, within the rate limits.

    Hashing is expensive, for correct and wrong passwords. Therefore every check is counted per
    network of the client. Correct passwords are also counted per owner. Wrong ones are not, because
    an attacker could use up the owner's limit; wrong passwords have their own limits.

    Raises RateLimitExceeded.
    """
    network_limits = throttling.client_limits("password-check-address", audit.current_ip_address())
    owner_limit = throttling.password_check_limit(owner_id)
    throttling.consume([*network_limits, owner_limit], now=now)
    correct = False
    try:
        correct = check()
    finally:
        if not correct:
            throttling.refund([owner_limit])
    return correct


def set_password(user: User, password: str | None, *, keep: Token | None = None) -> None:
    """Store a validated password, and revoke all access except the token `keep`.

    With None, password sign-in is disabled. The user is notified by mail. Device tokens stay valid,
    so that devices keep sending. Raises AccessEnded if access was revoked while the old password
    was checked.
    """
    user.set_password(password)
    with transaction.atomic():
        User.objects.lock(user)
        user.save(update_fields=["password", "updated_at"])
        audit.record("password.removed" if password is None else "password.changed", target=user)
        access.end_access(user, keep_token=keep)
        sending.enqueue("password-changed", user.pk)


def request_reset(email: str) -> None:
    """Enqueue a reset mail for this e-mail address.

    The same work is done for an unknown address, so that the response time does not reveal it. The
    worker looks up the other accounts with the same unverified address.
    """
    user = User.objects.with_email(email)
    sending.enqueue("password-reset", user.pk if user else uuid4())


def send_resets(user_id: UUID, *, now: datetime) -> None:
    """Mail a reset link for the user.

    If no user has verified the e-mail address, mail a link for each account with this address, up
    to MAX_CLAIMS. Each mail contains the username. The first account whose link is used gets the
    address (verification.release_unverified_claims).
    """
    user = User.objects.filter(pk=user_id).first()
    for claimant in User.objects.get_claimants(user.email)[:MAX_CLAIMS] if user else ():
        send_reset(claimant.pk, now=now)


def send_reset(user_id: UUID, *, now: datetime) -> None:
    """Mail the user a new link. Older links stay valid until one of them is used."""
    with transaction.atomic():
        # Locked until the token is stored, so that a change of the address revokes the token.
        user = User.objects.active().select_for_update().filter(pk=user_id).first()
        if user is None:
            return
        scope = tokens.Scope.PASSWORD_RESET
        _token, secret = tokens.issue(user, scope=scope, now=now, sent_to=user.email)
    link = sending.build_url("password-reset", secret)
    to, language, username = user.email, user.language, user.username
    sending.send_email("password_reset", to=to, language=language, link=link, username=username)


def reset_with_token(token: token_format.TokenOrDigest, password: str, *, now: datetime) -> User:
    """Set the password by a mailed token. Of several concurrent requests, one succeeds.

    The link was opened in the user's mailbox, so the e-mail address is verified. MFA is disabled
    only if it was enabled before the address was verified: an attacker may have registered with
    the address of another person, who could not sign in after the reset. Without that condition,
    staff could remove MFA of any user by a change of the address and a reset.

    Raises InvalidToken, and ValidationError for the password. Then the link is still valid.
    """
    user = tokens.get_active(token, scope=tokens.Scope.PASSWORD_RESET, now=now).user
    validate_password(user, password)
    with transaction.atomic():
        # Lock the user's row before the token row, as all code does, to avoid deadlocks.
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        tokens.consume(token, scope=tokens.Scope.PASSWORD_RESET, now=now)
        if mfa.was_enabled_with_unverified_email(user):
            mfa.disable(user)
        if user.email_verified_at is None:
            verification.mark_verified(user, user.email, now=now)
        set_password(user, password)
        # An attacker who knew the old password may have used up this limit.
        throttling.reset([throttling.password_check_limit(user.pk)])
    return user


def send_password_changed(user_id: UUID) -> None:
    """Mail the user that the password was changed."""
    user = User.objects.active().filter(pk=user_id).first()
    if user is not None and user.email_verified_at is not None:
        sending.send_email(
            "password_changed",
            to=user.email,
            language=user.language,
            username=user.username,
            link=sending.build_url("password-reset"),
        )
