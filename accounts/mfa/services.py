"""Two-factor authentication: codes of an authenticator (TOTP, RFC 6238) and recovery codes.

The only writer of both tables. The table stores a seed; the authenticator's key is derived from the
seed and SECRET_KEY. Therefore a copy of the database is not enough to generate codes. A conditional
UPDATE marks each code as used.
"""

import re
from base64 import b32encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from secrets import token_bytes
from uuid import UUID

import pyotp
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.crypto import salted_hmac
from pyotp.exceptions import OTPVerificationError

from accounts import throttling
from accounts.audit import log as audit
from accounts.email import sending
from accounts.models import RecoveryCode, SecondFactor, User
from accounts.users import access

SEED_BYTES = 32
KEY_BYTES = 20
"""The key length of TOTP with SHA-1, the only algorithm that all authenticators support."""
KEY_SALT = "accounts.second_factor"
"""Part of every key: a change would invalidate all authenticators."""
MAX_CLOCK_DRIFT_STEPS = 1
"""Time steps of 30 s that the authenticator's clock may be fast or slow."""
RECOVERY_CODES = 10
RECOVERY_CODE_LENGTH = 16
"""Base32 characters (80 bit), too many to guess from a hash."""

TOTP_CODE = re.compile(r"[0-9]{6}", re.ASCII)
RECOVERY_CODE = re.compile(rf"[A-Z2-7]{{{RECOVERY_CODE_LENGTH}}}", re.ASCII)


class InvalidCode(Exception):
    """The code is wrong or was used already."""


class TooManyAttempts(throttling.RateLimitExceeded):
    """Too many wrong codes. Codes are rejected for `retry_after` seconds."""


class AlreadyEnabled(Exception):
    """The user already has two-factor authentication. It must be disabled first."""


def is_enabled(user: User) -> bool:
    """Return whether the user has two-factor authentication."""
    return SecondFactor.objects.filter(user=user).exists()


def is_required_for(user: User) -> bool:
    """Return whether the user must have two-factor authentication (REQUIRE_STAFF_MFA)."""
    return bool(settings.REQUIRE_STAFF_MFA and user.is_staff)


def new_seed() -> bytes:
    """Return a random seed for a new authenticator."""
    return token_bytes(SEED_BYTES)


def build_totp(seed: bytes, user: User) -> pyotp.TOTP:
    """Return the TOTP generator with the same key as the user's authenticator."""
    key = salted_hmac(KEY_SALT, seed, algorithm="sha256").digest()[:KEY_BYTES]
    return pyotp.TOTP(
        b32encode(key).decode(),
        name=user.username,
        issuer=f"Telemetry {settings.PUBLIC_URL_PARTS.hostname}",
    )


def enable(user: User, *, seed: bytes, code: str, now: datetime) -> list[str]:
    """Enable two-factor authentication. Return the recovery codes, which are displayed only once.

    Existing sessions and tokens end, because they were created without a code. Raises InvalidCode
    if the code does not match the seed, AlreadyEnabled, and AccessEnded if access was revoked
    meanwhile.
    """
    step = _matching_time_step(build_totp(seed, user), code, now)
    try:
        with transaction.atomic():
            User.objects.lock(user)
            unverified = User.objects.filter(pk=user.pk, email_verified_at=None).exists()
            SecondFactor.objects.create(
                user=user,
                seed=seed,
                last_step=step,
                of_claimed_address=unverified,
                created_at=now,
            )
            access.end_access(user)
            audit.record("second_factor.switched_on", target=user, now=now)
            return new_recovery_codes(user)
    except IntegrityError:
        raise AlreadyEnabled from None


def verify_code(user: User, code: str, *, now: datetime) -> None:
    """Check a code of the authenticator or a recovery code, and mark it as used.

    Of several concurrent requests with the same code, one succeeds. Raises InvalidCode, and
    TooManyAttempts after too many wrong codes.

    At any time three of a million authenticator codes are valid. Therefore the attempts in a short
    time and in a day are limited. Recovery codes have their own limit: they still work if an
    attacker has exhausted the limit of authenticator codes.
    """
    text = re.sub(r"[\s-]", "", code).upper()
    if RECOVERY_CODE.fullmatch(text):
        _check(user, _verify_recovery_code, text, [throttling.recovery_code_limit(user.pk)], now)
    else:
        _check(user, _verify_totp_code, text, throttling.code_limits(user.pk), now)


def send_notice(user_id: UUID) -> None:
    """Mail the user that too many wrong codes were entered."""
    user = User.objects.active().filter(pk=user_id).first()
    if user is not None and user.email_verified_at is not None:
        sending.send_email(
            "wrong_codes",
            to=user.email,
            language=user.language,
            username=user.username,
            link=sending.build_url("password-reset"),
        )


def disable(user: User) -> None:
    """Disable two-factor authentication. Raises AccessEnded."""
    with transaction.atomic():
        User.objects.lock(user)
        RecoveryCode.objects.filter(user=user).delete()
        if SecondFactor.objects.filter(user=user).delete()[0]:
            audit.record("second_factor.switched_off", target=user)


def was_enabled_with_unverified_email(user: User) -> bool:
    """Return whether MFA was enabled before the user had verified the e-mail address.

    If staff mark a verified address as unverified later, the result stays False.
    """
    return SecondFactor.objects.filter(user=user, of_claimed_address=True).exists()


def keep_on_password_reset(user: User) -> None:
    """Keep MFA enabled on a password reset. Call it when the e-mail address is verified or staff
    have changed it.
    """
    SecondFactor.objects.filter(user=user).update(of_claimed_address=False)


def new_recovery_codes(user: User) -> list[str]:
    """Replace the recovery codes. Return ten new codes, which are displayed only once.

    Raises AccessEnded.
    """
    codes = [b32encode(token_bytes(10)).decode() for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        User.objects.lock(user)
        RecoveryCode.objects.filter(user=user).delete()
        RecoveryCode.objects.bulk_create(
            RecoveryCode(user=user, code_hash=_digest(code)) for code in codes
        )
        audit.record("second_factor.recovery_made", target=user)
    return ["-".join(_groups_of_four(code.lower())) for code in codes]


def unused_recovery_code_count(user: User) -> int:
    """Return the number of unused recovery codes."""
    return RecoveryCode.objects.filter(user=user, used_at=None).count()


def _check(
    user: User,
    verify: Callable[[User, str, datetime], None],
    code: str,
    counters: list[throttling.RateLimit],
    now: datetime,
) -> None:
    """Verify a code within the rate limits. A correct code resets the first counter."""
    first, *others = counters
    try:
        throttling.consume(counters, now=now)
        verify(user, code, now)
    except throttling.RateLimitExceeded as error:
        raise TooManyAttempts(error.limit, error.retry_after) from None
    except InvalidCode:
        audit.record("second_factor.refused", target=user, now=now)
        if throttling.is_exhausted(first, now=now):
            _mail_notice(user, now)
        raise
    throttling.reset([first])
    throttling.refund(others)


def _mail_notice(user: User, now: datetime) -> None:
    """Enqueue a mail about wrong codes, unless one was sent recently."""
    with suppress(throttling.RateLimitExceeded):
        throttling.consume(throttling.code_mail_limits(user.pk), now=now)
        sending.enqueue("wrong-codes", user.pk)


def _verify_totp_code(user: User, code: str, now: datetime) -> None:
    device = SecondFactor.objects.filter(user=user).first()
    if device is None:
        raise InvalidCode
    step = _matching_time_step(build_totp(bytes(device.seed), user), code, now)
    # Reject used codes, and unused older codes: an attacker may have seen them.
    if not SecondFactor.objects.filter(user=user, last_step__lt=step).update(last_step=step):
        raise InvalidCode


def _verify_recovery_code(user: User, code: str, now: datetime) -> None:
    unused = RecoveryCode.objects.filter(user=user, used_at=None)
    with transaction.atomic():
        if not unused.filter(code_hash=_digest(code)).update(used_at=now):
            raise InvalidCode
        audit.record("second_factor.recovery_used", target=user, actor=user, now=now)


def _matching_time_step(totp: pyotp.TOTP, code: str, now: datetime) -> int:
    """Return the time step of the code. Raises InvalidCode."""
    text = re.sub(r"[\s-]", "", code)
    if not TOTP_CODE.fullmatch(text):
        raise InvalidCode
    try:
        return totp.verify_and_get_timecode(text, for_time=now, valid_window=MAX_CLOCK_DRIFT_STEPS)
    except OTPVerificationError:
        raise InvalidCode from None


def _digest(code: str) -> bytes:
    return sha256(code.encode()).digest()


def _groups_of_four(text: str) -> Iterable[str]:
    return (text[start : start + 4] for start in range(0, len(text), 4))
