"""The second factor of a sign-in: codes of an authenticator (TOTP, RFC 6238), and recovery codes
for when it is lost. The only writer of both tables.

A copy of the database makes no codes: what is stored is a seed, and the authenticator's key is made
of it with the site's SECRET_KEY. Each code is used up by a conditional UPDATE.
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

SEED_LENGTH = 32
"""Bytes."""
KEY_LENGTH = 20
"""Bytes; what authenticators expect of SHA-1, the only kind that all of them know."""
DRIFT = 1
"""Steps of 30 s that the authenticator's clock may be off, either way."""
RECOVERY_CODES = 10
RECOVERY_CODE_LENGTH = 16
"""Base32 characters, 80 bit: more than can be guessed from a hash."""

TOTP_CODE = re.compile(r"[0-9]{6}", re.ASCII)
RECOVERY_CODE = re.compile(rf"[A-Z2-7]{{{RECOVERY_CODE_LENGTH}}}", re.ASCII)


class InvalidCode(Exception):
    """Not a code of this user's, or one that was used already."""


class TooManyAttempts(throttling.RateLimitExceeded):
    """So many codes were wrong that none is looked at before `retry_after` seconds."""


class AlreadyEnabled(Exception):
    """The user has a second factor; it is switched off before there is another."""


def is_enabled(user: User) -> bool:
    """Whether this user is asked for a code."""
    return SecondFactor.objects.filter(user=user).exists()


def is_required_for(user: User) -> bool:
    """Whether this user may do nothing without one (REQUIRE_STAFF_MFA)."""
    return bool(settings.REQUIRE_STAFF_MFA and user.is_staff)


def new_seed() -> bytes:
    """What a new authenticator's key is made of."""
    return token_bytes(SEED_LENGTH)


def build_totp(seed: bytes, user: User) -> pyotp.TOTP:
    """The twin of what is on the user's phone."""
    key = salted_hmac("accounts.mfa.services", seed, algorithm="sha256").digest()[:KEY_LENGTH]
    return pyotp.TOTP(
        b32encode(key).decode(),
        name=user.username,
        issuer=f"Telemetry {settings.PUBLIC_URL_PARTS.hostname}",
    )


def enable(user: User, *, seed: bytes, code: str, now: datetime) -> list[str]:
    """Ask for a code at every sign-in from now on; returns the recovery codes, shown this once.
    All access from before ends, as it was opened without a code.

    Raises WrongCode unless the authenticator that was given this seed has made the code, and
    AlreadyOn, and AccessEnded if access ended meanwhile.
    """
    step = _matching_time_step(build_totp(seed, user), code, now)
    try:
        with transaction.atomic():
            User.objects.lock(user)
            claimed = User.objects.filter(pk=user.pk, email_verified_at=None).exists()
            SecondFactor.objects.create(
                user=user, seed=seed, last_step=step, of_claimed_address=claimed, created_at=now
            )
            access.end_access(user)
            audit.record("second_factor.switched_on", target=user, now=now)
            return new_recovery_codes(user)
    except IntegrityError:
        raise AlreadyEnabled from None


def verify_code(user: User, code: str, *, now: datetime) -> None:
    """Use up one code of the user's, from the authenticator or a recovery code; of many at once
    one succeeds. Raises WrongCode, and TooManyCodes for somebody who guesses.

    Of a million codes of the authenticator three are right at a time, so few are looked at in a
    short time and in a day. Recovery codes are counted apart: they still work when somebody else
    has used up the others.
    """
    text = re.sub(r"[\s-]", "", code).upper()
    if RECOVERY_CODE.fullmatch(text):
        _check(user, _use_recovery_code, text, [throttling.of_recovery_code(user.pk)], now)
    else:
        _check(user, _use_step, text, throttling.of_codes(user.pk), now)


def send_notice(user_id: UUID) -> None:
    """Tell the user that somebody has given too many wrong codes."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and user.email_verified_at is not None:
        sending.send_email(
            "wrong_codes",
            to=user.email,
            language=user.language,
            username=user.username,
            link=sending.build_url("password-reset"),
        )


def disable(user: User) -> None:
    """Ask for a password alone again."""
    with transaction.atomic():
        RecoveryCode.objects.filter(user=user).delete()
        if SecondFactor.objects.filter(user=user).delete()[0]:
            audit.record("second_factor.switched_off", target=user)


def is_of_claimed_address(user: User) -> bool:
    """Return whether the second factor was switched on by somebody who has not proven the address.

    Staff may take the proof of an address away. That makes no second factor one of these.
    """
    return SecondFactor.objects.filter(user=user, of_claimed_address=True).exists()


def keep_at_reset(user: User) -> None:
    """Keep the second factor when the password is reset by mail: the address is proven now, or
    staff have changed it.
    """
    SecondFactor.objects.filter(user=user).update(of_claimed_address=False)


def new_recovery_codes(user: User) -> list[str]:
    """Ten codes in place of those there were; returned this once, as people write them down."""
    codes = [b32encode(token_bytes(10)).decode() for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        RecoveryCode.objects.filter(user=user).delete()
        RecoveryCode.objects.bulk_create(
            RecoveryCode(user=user, code_hash=_digest(code)) for code in codes
        )
        audit.record("second_factor.recovery_made", target=user)
    return ["-".join(_groups_of_four(code.lower())) for code in codes]


def unused_recovery_code_count(user: User) -> int:
    """How many of them were not used."""
    return RecoveryCode.objects.filter(user=user, used_at=None).count()


def _check(
    user: User,
    use_up: Callable[[User, str, datetime], None],
    code: str,
    counters: list[throttling.RateLimit],
    now: datetime,
) -> None:
    """Use up a code. The first counter begins anew with a right one."""
    first, *others = counters
    try:
        throttling.consume(counters, now=now)
        use_up(user, code, now)
    except throttling.RateLimitExceeded as error:
        raise TooManyAttempts(error.limit, error.retry_after) from None
    except InvalidCode:
        audit.record("second_factor.refused", target=user, now=now)
        if throttling.is_used_up(first, now=now):
            _mail_notice(user, now)
        raise
    throttling.reset([first])
    throttling.refund(others)


def _mail_notice(user: User, now: datetime) -> None:
    """Have the user told of wrong codes, unless they were told already."""
    with suppress(throttling.RateLimitExceeded):
        throttling.consume(throttling.of_mail_about_codes(user.pk), now=now)
        sending.enqueue("wrong-codes", user.pk)


def _use_step(user: User, code: str, now: datetime) -> None:
    factor = SecondFactor.objects.filter(user=user).first()
    if factor is None:
        raise InvalidCode
    step = _matching_time_step(build_totp(bytes(factor.seed), user), code, now)
    # Neither this code again, nor one from before it that somebody may have looked at.
    if not SecondFactor.objects.filter(user=user, last_step__lt=step).update(last_step=step):
        raise InvalidCode


def _use_recovery_code(user: User, code: str, now: datetime) -> None:
    unused = RecoveryCode.objects.filter(user=user, used_at=None)
    with transaction.atomic():
        if not unused.filter(code_hash=_digest(code)).update(used_at=now):
            raise InvalidCode
        audit.record("second_factor.recovery_used", target=user, by=user, now=now)


def _matching_time_step(twin: pyotp.TOTP, code: str, now: datetime) -> int:
    """The step of time that the code is of. Raises WrongCode."""
    text = re.sub(r"[\s-]", "", code)
    if not TOTP_CODE.fullmatch(text):
        raise InvalidCode
    try:
        return twin.verify_and_get_timecode(text, for_time=now, valid_window=DRIFT)
    except OTPVerificationError:
        raise InvalidCode from None


def _digest(code: str) -> bytes:
    return sha256(code.encode()).digest()


def _groups_of_four(text: str) -> Iterable[str]:
    return (text[at : at + 4] for at in range(0, len(text), 4))
