"""MFA: validation of codes, their rate limits and what is stored."""

from datetime import timedelta

import pyotp
import pytest
from django.db import IntegrityError

from accounts.mfa import services as mfa
from accounts.models import RecoveryCode, SecondFactor, User
from accounts.users import access
from tests.concurrency import run_concurrently
from tests.factories import NOW, UserFactory, enable_mfa
from tests.mail import link_of, text_of

STEP = timedelta(seconds=30)


def is_accepted(user, code, now=NOW):
    try:
        mfa.verify_code(user, code, now=now)
    except (mfa.InvalidCode, mfa.TooManyAttempts):
        return False
    return True


@pytest.fixture
def totp(owner):
    """The owner's authenticator app, set up a minute ago."""
    return enable_mfa(owner, now=NOW - 2 * STEP)


def test_the_current_code_is_accepted(owner, totp):
    assert is_accepted(owner, totp.at(NOW))


@pytest.mark.parametrize("format_string", ["{0}{1}", "{0} {1}", " {0}-{1}\t"])
def test_a_code_with_spaces_or_hyphens_is_accepted(owner, totp, format_string):
    code = totp.at(NOW)
    assert is_accepted(owner, format_string.format(code[:3], code[3:]))


@pytest.mark.parametrize(("off", "right"), [(-2, False), (-1, True), (0, True), (1, True)])
def test_a_code_of_a_clock_that_differs_by_thirty_seconds_is_accepted(owner, totp, off, right):
    assert is_accepted(owner, totp.at(NOW + off * STEP)) == right


def test_the_codes_match_another_totp_implementation(owner):
    seed = mfa.new_seed()
    uri = mfa.build_totp(seed, owner).provisioning_uri()
    phone = pyotp.parse_uri(uri)
    assert (phone.name, phone.issuer) == ("owner", "Telemetry localhost")
    assert mfa.enable(owner, seed=seed, code=phone.at(NOW), now=NOW)


def test_a_code_is_accepted_once(owner, totp):
    assert is_accepted(owner, totp.at(NOW))
    assert not is_accepted(owner, totp.at(NOW))
    assert not is_accepted(owner, totp.at(NOW), NOW + STEP)
    assert is_accepted(owner, totp.at(NOW + STEP), NOW + STEP)


def test_a_code_older_than_the_last_used_one_is_rejected(owner, totp):
    assert is_accepted(owner, totp.at(NOW))
    assert not is_accepted(owner, totp.at(NOW - STEP))


def test_the_code_of_the_setup_is_rejected_afterwards(owner):
    totp = enable_mfa(owner, now=NOW)
    assert not is_accepted(owner, totp.at(NOW))


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "٠١٢٣٤٥", "abcdef", "\0" * 6, "x" * 5000, "7" * 16, "a" * 16]
)
def test_a_malformed_code_is_rejected(owner, totp, code):
    assert not is_accepted(owner, code)


def test_a_code_of_another_user_is_rejected(owner, stranger, totp):
    stranger_totp = enable_mfa(stranger, now=NOW - 2 * STEP)
    assert not is_accepted(owner, stranger_totp.at(NOW))


def test_every_code_is_rejected_for_a_user_without_mfa(owner):
    totp = mfa.build_totp(mfa.new_seed(), owner)
    assert not is_accepted(owner, totp.at(NOW))
    assert not is_accepted(owner, "a" * 16)


def test_mfa_is_not_enabled_with_a_wrong_code(owner):
    with pytest.raises(mfa.InvalidCode):
        mfa.enable(owner, seed=mfa.new_seed(), code="000000", now=NOW)
    assert not mfa.is_enabled(owner)


def test_mfa_is_not_set_up_twice(owner, totp):
    seed = mfa.new_seed()
    code = mfa.build_totp(seed, owner).at(NOW)
    with pytest.raises(mfa.AlreadyEnabled):
        mfa.enable(owner, seed=seed, code=code, now=NOW)
    assert is_accepted(owner, totp.at(NOW))


def test_codes_cannot_be_computed_without_the_secret_key(owner, settings):
    totp = enable_mfa(owner, now=NOW - 2 * STEP)
    seed = bytes(SecondFactor.objects.get().seed)
    settings.SECRET_KEY = "another key, which the thief of the database does not know either"
    assert mfa.build_totp(seed, owner).at(NOW) != totp.at(NOW)


def test_recovery_codes_are_not_stored_in_plain_text(owner):
    seed = mfa.new_seed()
    code = mfa.build_totp(seed, owner).at(NOW)
    codes = mfa.enable(owner, seed=seed, code=code, now=NOW)
    assert len(set(codes)) == 10
    stored = " ".join(
        repr(bytes(one.code_hash)) + str(vars(one)) for one in RecoveryCode.objects.all()
    )
    assert not [one for one in codes if one in stored or one.replace("-", "") in stored]


def test_each_recovery_code_is_accepted_once(owner, totp):
    codes = mfa.new_recovery_codes(owner)
    assert mfa.unused_recovery_code_count(owner) == 10
    assert is_accepted(owner, codes[0])
    assert not is_accepted(owner, codes[0])
    assert is_accepted(owner, codes[1].upper().replace("-", " "))
    assert mfa.unused_recovery_code_count(owner) == 8


def test_new_recovery_codes_replace_the_old_ones(owner, stranger, totp):
    old = mfa.new_recovery_codes(owner)
    stranger_codes = mfa.new_recovery_codes(stranger)
    new = mfa.new_recovery_codes(owner)
    assert not is_accepted(owner, old[0])
    assert not is_accepted(owner, stranger_codes[0])
    assert is_accepted(owner, new[0])


def test_disabling_mfa_deletes_its_recovery_codes(owner, stranger, totp):
    enable_mfa(stranger, now=NOW)
    code = mfa.new_recovery_codes(owner)[0]
    mfa.disable(owner)
    assert not mfa.is_enabled(owner)
    assert mfa.is_enabled(stranger)
    assert not RecoveryCode.objects.filter(user=owner).exists()
    assert not is_accepted(owner, code)


def test_after_five_wrong_codes_no_code_is_checked_for_fifteen_minutes(owner, stranger, totp):
    for _ in range(5):
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(owner, "000000", now=NOW)
    later = NOW + timedelta(minutes=14)
    with pytest.raises(mfa.TooManyAttempts):
        mfa.verify_code(owner, totp.at(later), now=later)
    stranger_totp = enable_mfa(stranger, now=NOW - 2 * STEP)
    assert is_accepted(stranger, stranger_totp.at(NOW))
    later = NOW + timedelta(minutes=15)
    assert is_accepted(owner, totp.at(later), later)


def test_a_right_code_resets_the_count_of_wrong_codes(owner, totp):
    for number in range(12):
        now = NOW + number * STEP
        assert is_accepted(owner, "000000" if number % 3 else totp.at(now), now) == (not number % 3)


def guess(user, times, now=NOW, code="000000"):
    """Send wrong codes and return how many of them were checked."""
    return sum(is_checked(user, code, now) for _ in range(times))


def is_checked(user, code, now):
    try:
        mfa.verify_code(user, code, now=now)
    except mfa.InvalidCode:
        return True
    except mfa.TooManyAttempts:
        return False
    raise AssertionError("The code was right.")


def test_a_recovery_code_is_accepted_after_too_many_authenticator_codes(owner, totp):
    codes = mfa.new_recovery_codes(owner)
    guess(owner, 6)
    assert is_accepted(owner, codes[0])
    # The limit of authenticator codes still applies.
    assert not is_checked(owner, "000000", NOW)


def test_an_authenticator_code_is_accepted_after_too_many_recovery_codes(owner, totp):
    assert guess(owner, 7, code="a" * 16) == 5
    assert is_accepted(owner, totp.at(NOW))


def test_at_most_fifty_codes_of_a_user_are_checked_in_a_day(owner, totp):
    checked = [guess(owner, 6, NOW + timedelta(minutes=15 * number)) for number in range(12)]
    assert checked == [5] * 10 + [0] * 2
    late = NOW + timedelta(hours=4)
    with pytest.raises(mfa.TooManyAttempts) as caught:
        mfa.verify_code(owner, totp.at(late), now=late)
    assert (caught.value.limit, caught.value.retry_after) == ("second-factor-day", 20 * 3600)
    codes = mfa.new_recovery_codes(owner)
    assert is_accepted(owner, codes[0], late)
    tomorrow = NOW + timedelta(days=1)
    assert is_accepted(owner, totp.at(tomorrow), tomorrow)


def test_right_codes_do_not_count_for_the_daily_limit(owner, totp):
    for number in range(60):
        now = NOW + number * STEP
        assert is_accepted(owner, totp.at(now), now)


def test_ending_access_resets_the_limits_of_codes(owner, totp):
    guess(owner, 6)
    guess(owner, 6, code="a" * 16)
    access.end_access(owner)
    assert is_accepted(owner, totp.at(NOW))
    assert is_checked(owner, "a" * 16, NOW)


def test_ending_access_does_not_reset_the_daily_limit(owner, totp):
    checked = 0
    for _ in range(12):
        checked += guess(owner, 6)
        access.end_access(owner)
    assert checked == 50


def test_the_user_is_notified_by_mail_once_a_day_of_too_many_wrong_codes(owner, totp, inbox):
    guess(owner, 4)
    assert inbox.deliver() == 0
    guess(owner, 2)
    guess(owner, 6, NOW + timedelta(minutes=15))
    inbox.deliver()
    (mail,) = inbox.to(owner.email)
    assert mail["Subject"] == "Too many wrong two-factor codes"
    assert "owner" in text_of(mail)
    assert link_of(mail).endswith("/password-reset")
    guess(owner, 6, NOW + timedelta(days=1))
    inbox.deliver()
    assert len(inbox.to(owner.email)) == 2


def test_no_notification_is_sent_to_an_unverified_email(owner, totp, inbox):
    User.objects.update(email_verified_at=None)
    guess(owner, 6)
    assert inbox.deliver() == 1
    assert inbox.mails == []


@pytest.mark.django_db(transaction=True)
def test_five_of_twenty_concurrent_wrong_codes_are_checked():
    user = UserFactory.create()
    enable_mfa(user, now=NOW - 2 * STEP)
    outcomes = run_concurrently(*[lambda: mfa.verify_code(user, "000000", now=NOW)] * 20)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds.count(mfa.InvalidCode) == 5
    assert kinds.count(mfa.TooManyAttempts) == 15


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["authenticator", "recovery"])
def test_one_of_twenty_concurrent_logins_with_the_same_code_succeeds(kind):
    user = UserFactory.create()
    totp = enable_mfa(user, now=NOW - 2 * STEP)
    code = mfa.new_recovery_codes(user)[0] if kind == "recovery" else totp.at(NOW)
    assert sorted(run_concurrently(*[lambda: is_accepted(user, code)] * 20)) == [False] * 19 + [
        True
    ]


def test_the_database_rejects_a_seed_of_another_length(owner):
    with pytest.raises(IntegrityError, match="second_factor_seed_is_32_bytes"):
        SecondFactor.objects.create(user=owner, seed=b"short", last_step=0, created_at=NOW)


def test_the_database_rejects_a_recovery_code_that_is_not_hashed(owner):
    with pytest.raises(IntegrityError, match="recovery_code_hash_is_sha256"):
        RecoveryCode.objects.create(user=owner, code_hash=b"short")
