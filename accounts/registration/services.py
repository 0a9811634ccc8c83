"""Sign-up: a user registers and confirms the mailed link.

Until then there is a Registration, which reserves neither the username nor the e-mail address. With
ALLOW_UNVERIFIED_LOGIN the user is created at once, with an unverified e-mail address. Several users
may have the same unverified e-mail address, and another user may have verified it already.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import throttling
from accounts.audit import log as audit
from accounts.email import sending, verification
from accounts.models import Registration, User, equals_ignoring_case, fold
from accounts.passwords import services as passwords
from accounts.registration import activation, pending
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens


class PendingVerification(NamedTuple):
    """A user or a registration with an unverified e-mail address."""

    username: str
    is_registration: bool
    requires_password: bool


def register(username: str, email: str, password: str, *, now: datetime) -> None:
    """Register a new user and mail a verification link.

    The error for a taken username is not a leak, because usernames are public. Whether the e-mail
    address is known stays secret: the same work is done for known and unknown addresses.

    Pending registrations of this e-mail address are deleted, including those of other clients.
    Their links are then rejected. Raises RegistrationClosed and ValidationError.
    """
    if settings.REGISTRATION_MODE != "open":
        raise pending.RegistrationClosed
    user = User(username=username, email=User.objects.normalize_email(email))
    activation.validate_new_user(user, password)
    user.password = make_password(password)
    with transaction.atomic():
        if settings.ALLOW_UNVERIFIED_LOGIN:
            if not activation.create_user(user):
                raise activation.username_taken()
            audit.record("user.joined", target=user, actor=user, now=now)
            sending.enqueue("verification", user.pk)
            return
        Registration.objects.filter(
            equals_ignoring_case("email", user.email), invited_by=None
        ).delete()
        registration = Registration.objects.create(
            username=user.username,
            email=user.email,
            password=user.password,
            expires_at=now + pending.REGISTRATION_TTL,
            # The digest of a random token that is discarded. The mail gets a new token.
            token_hash=token_format.generate(pending.VERIFICATION_PREFIX).digest,
        )
        sending.enqueue("registration", registration.pk)


def resend_links(email: str) -> None:
    """Mail the verification links of this e-mail address again, if any are pending.

    The response does not reveal whether any are pending. The client is not authenticated, so the
    link of a change of e-mail address is not mailed: `verification.resend_own_link` does that for
    signed-in users.
    """
    registrations = Registration.objects.filter(
        equals_ignoring_case("email", email), invited_by=None
    ).order_by("-created_at")
    registration = next((row for row in registrations if fold(row.email) == fold(email)), None)
    user = User.objects.with_email(email)
    sending.enqueue("registration", registration.pk if registration else uuid4())
    sending.enqueue("verification", user.pk if user else uuid4())


def find_pending(
    token: token_format.TokenOrDigest, *, actor: User | None, now: datetime
) -> PendingVerification:
    """Return the user or the registration that this token verifies. `actor` is the signed-in user.

    Raises InvalidToken.
    """
    try:
        registration = pending.get_open_registration(token, now=now)
    except tokens.InvalidToken:
        user = verification.get_user_for_link(token, now=now)
        return PendingVerification(user.username, False, _requires_password(user, actor))
    return PendingVerification(registration.username, True, registration.invited_by_id is None)


def verify_email_or_complete(
    token: token_format.TokenOrDigest,
    *,
    username: str = "",
    password: str = "",
    actor: User | None = None,
    now: datetime,
) -> User:
    """Verify an e-mail address by a mailed token, for a registration or for a user.

    A link can be mailed to the address of another person. Therefore the token is not enough: the
    request must have the password of the account, or be signed in to it (`actor`).

    Raises InvalidToken, RegistrationClosed, RateLimitExceeded and ValidationError. After a
    ValidationError (wrong password, username taken) the link is still valid.
    """
    try:
        pending.get_open_registration(token, now=now)
    except tokens.InvalidToken:
        user = verification.get_user_for_link(token, now=now)
        if _requires_password(user, actor):
            _check_user_password(user, password, now=now)
        return verification.verify_email(token, now=now)
    return complete_registration(token, username=username, password=password, now=now)


def complete_registration(
    token: token_format.TokenOrDigest, *, username: str = "", password: str, now: datetime
) -> User:
    """Create the user of a registration. Of several concurrent requests, one succeeds.

    The request must have the password of the registration. Raises InvalidToken, RegistrationClosed
    and RateLimitExceeded. Raises ValidationError if the password is wrong or the username is taken
    meanwhile. Then the link is still valid, and another `username` can be given.
    """
    registration = pending.get_open_registration(token, now=now)
    if registration.invited_by_id is not None:
        raise tokens.InvalidToken
    pending.check_mode(registration)
    _check_registration_password(registration, password, now=now)
    user = User(username=username or registration.username, password=registration.password)
    return activation.activate(registration, user, now=now)


def _requires_password(user: User, actor: User | None) -> bool:
    return actor != user and user.has_usable_password()


def _check_user_password(user: User, password: str, *, now: datetime) -> None:
    _require(password)
    try:
        passwords.check_current_password(user, password, now=now)
    except passwords.WrongPassword:
        raise _wrong_password(_("Wrong password for this account.")) from None


def _check_registration_password(
    registration: Registration, password: str, *, now: datetime
) -> None:
    _require(password)
    counters = throttling.registration_password_limits(registration.email)
    throttling.consume(counters, now=now)
    correct = passwords.check_rate_limited(
        lambda: check_password(password, registration.password), registration.email, now=now
    )
    if not correct:
        raise _wrong_password(
            _(
                "This is not the password from the sign-up. If you did not sign up, create your"
                " own account."
            )
        )
    throttling.reset(counters)


def _require(password: str) -> None:
    if not password:
        message = _("Enter the password from your sign-up.")
        raise ValidationError({"password": ValidationError(message, code="required")})


def _wrong_password(message: str) -> ValidationError:
    return ValidationError({"password": ValidationError(message, code="wrong-password")})
