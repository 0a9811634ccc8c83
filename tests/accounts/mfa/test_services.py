"""The second factor: what is a right code, once, and what of it is stored."""

from datetime import timedelta

import pyotp
import pytest
from django.db import IntegrityError

from accounts.mfa import services as mfa
from accounts.models import RecoveryCode, SecondFactor, User
from accounts.users import access
from tests.concurrency import at_once
from tests.factories import NOW, UserFactory, second_factor_of
from tests.mail import link_of, text_of

STEP = timedelta(seconds=30)


def is_right(user, code, now=NOW):
    try:
        mfa.verify_code(user, code, now=now)
    except (mfa.InvalidCode, mfa.TooManyAttempts):
        return False
    return True


@pytest.fixture
def twin(owner):
    """The owner's authenticator, set up a minute ago."""
    return second_factor_of(owner, now=NOW - 2 * STEP)


def test_the_code_that_is_shown_now_is_right(owner, twin):
    assert is_right(owner, twin.at(NOW))


@pytest.mark.parametrize("typed", ["{0}{1}", "{0} {1}", " {0}-{1}\t"])
def test_it_may_be_typed_as_people_do(owner, twin, typed):
    code = twin.at(NOW)
    assert is_right(owner, typed.format(code[:3], code[3:]))


@pytest.mark.parametrize(("off", "right"), [(-2, False), (-1, True), (0, True), (1, True)])
def test_the_clock_of_the_phone_may_be_half_a_minute_off(owner, twin, off, right):
    assert is_right(owner, twin.at(NOW + off * STEP)) == right


def test_the_codes_are_those_of_any_other_implementation(owner):
    seed = mfa.new_seed()
    uri = mfa.build_totp(seed, owner).provisioning_uri()
    phone = pyotp.parse_uri(uri)
    assert (phone.name, phone.issuer) == ("owner", "Telemetry localhost")
    assert mfa.enable(owner, seed=seed, code=phone.at(NOW), now=NOW)


def test_a_code_works_once(owner, twin):
    assert is_right(owner, twin.at(NOW))
    assert not is_right(owner, twin.at(NOW))
    assert not is_right(owner, twin.at(NOW), NOW + STEP)
    assert is_right(owner, twin.at(NOW + STEP), NOW + STEP)


def test_nor_does_one_from_before_it(owner, twin):
    assert is_right(owner, twin.at(NOW))
    assert not is_right(owner, twin.at(NOW - STEP))


def test_the_code_it_was_set_up_with_is_used_up(owner):
    twin = second_factor_of(owner, now=NOW)
    assert not is_right(owner, twin.at(NOW))


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "٠١٢٣٤٥", "abcdef", "\0" * 6, "x" * 5000, "7" * 16, "a" * 16]
)
def test_what_is_no_code_is_wrong(owner, twin, code):
    assert not is_right(owner, code)


def test_a_code_of_somebody_else_is_wrong(owner, stranger, twin):
    theirs = second_factor_of(stranger, now=NOW - 2 * STEP)
    assert not is_right(owner, theirs.at(NOW))


def test_without_a_second_factor_no_code_is_right(owner):
    twin = mfa.build_totp(mfa.new_seed(), owner)
    assert not is_right(owner, twin.at(NOW))
    assert not is_right(owner, "a" * 16)


def test_it_is_not_switched_on_without_the_right_code(owner):
    with pytest.raises(mfa.InvalidCode):
        mfa.enable(owner, seed=mfa.new_seed(), code="000000", now=NOW)
    assert not mfa.is_enabled(owner)


def test_it_is_not_set_up_twice(owner, twin):
    seed = mfa.new_seed()
    code = mfa.build_totp(seed, owner).at(NOW)
    with pytest.raises(mfa.AlreadyEnabled):
        mfa.enable(owner, seed=seed, code=code, now=NOW)
    assert is_right(owner, twin.at(NOW))


def test_a_copy_of_the_database_makes_no_codes(owner, settings):
    twin = second_factor_of(owner, now=NOW - 2 * STEP)
    seed = bytes(SecondFactor.objects.get().seed)
    settings.SECRET_KEY = "another key, which the thief of the database does not know either"
    assert mfa.build_totp(seed, owner).at(NOW) != twin.at(NOW)


def test_recovery_codes_are_nowhere_in_the_table(owner):
    seed = mfa.new_seed()
    code = mfa.build_totp(seed, owner).at(NOW)
    codes = mfa.enable(owner, seed=seed, code=code, now=NOW)
    assert len(set(codes)) == 10
    stored = " ".join(
        repr(bytes(one.code_hash)) + str(vars(one)) for one in RecoveryCode.objects.all()
    )
    assert not [one for one in codes if one in stored or one.replace("-", "") in stored]


def test_each_recovery_code_works_once(owner, twin):
    codes = mfa.new_recovery_codes(owner)
    assert mfa.unused_recovery_code_count(owner) == 10
    assert is_right(owner, codes[0])
    assert not is_right(owner, codes[0])
    assert is_right(owner, codes[1].upper().replace("-", " "))
    assert mfa.unused_recovery_code_count(owner) == 8


def test_new_recovery_codes_take_the_place_of_the_old(owner, stranger, twin):
    old = mfa.new_recovery_codes(owner)
    hers = mfa.new_recovery_codes(stranger)
    new = mfa.new_recovery_codes(owner)
    assert not is_right(owner, old[0])
    assert not is_right(owner, hers[0])
    assert is_right(owner, new[0])


def test_switched_off_nothing_of_it_is_left(owner, stranger, twin):
    second_factor_of(stranger, now=NOW)
    code = mfa.new_recovery_codes(owner)[0]
    mfa.disable(owner)
    assert not mfa.is_enabled(owner)
    assert mfa.is_enabled(stranger)
    assert not RecoveryCode.objects.filter(user=owner).exists()
    assert not is_right(owner, code)


def test_after_five_wrong_codes_none_is_looked_at_for_a_quarter_of_an_hour(owner, stranger, twin):
    for _ in range(5):
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(owner, "000000", now=NOW)
    later = NOW + timedelta(minutes=14)
    with pytest.raises(mfa.TooManyAttempts):
        mfa.verify_code(owner, twin.at(later), now=later)
    theirs = second_factor_of(stranger, now=NOW - 2 * STEP)
    assert is_right(stranger, theirs.at(NOW))
    later = NOW + timedelta(minutes=15)
    assert is_right(owner, twin.at(later), later)


def test_a_right_code_begins_the_count_anew(owner, twin):
    for number in range(12):
        now = NOW + number * STEP
        assert is_right(owner, "000000" if number % 3 else twin.at(now), now) == (not number % 3)


def guess(user, times, now=NOW, code="000000"):
    """Give wrong codes; return how many of them were looked at."""
    return sum(is_looked_at(user, code, now) for _ in range(times))


def is_looked_at(user, code, now):
    try:
        mfa.verify_code(user, code, now=now)
    except mfa.InvalidCode:
        return True
    except mfa.TooManyAttempts:
        return False
    raise AssertionError("The code was right.")


def test_recovery_codes_work_when_somebody_has_used_up_the_tries_of_the_others(owner, twin):
    codes = mfa.new_recovery_codes(owner)
    guess(owner, 6)
    assert is_right(owner, codes[0])
    # That gives nobody more codes of the authenticator to guess.
    assert not is_looked_at(owner, "000000", NOW)


def test_the_authenticator_works_when_somebody_has_used_up_the_tries_of_recovery_codes(owner, twin):
    assert guess(owner, 7, code="a" * 16) == 5
    assert is_right(owner, twin.at(NOW))


def test_fifty_codes_of_a_user_are_looked_at_in_a_day(owner, twin):
    looked_at = [guess(owner, 6, NOW + timedelta(minutes=15 * number)) for number in range(12)]
    assert looked_at == [5] * 10 + [0] * 2
    late = NOW + timedelta(hours=4)
    with pytest.raises(mfa.TooManyAttempts) as refused:
        mfa.verify_code(owner, twin.at(late), now=late)
    assert (refused.value.limit, refused.value.retry_after) == ("second-factor-day", 20 * 3600)
    codes = mfa.new_recovery_codes(owner)
    assert is_right(owner, codes[0], late)
    tomorrow = NOW + timedelta(days=1)
    assert is_right(owner, twin.at(tomorrow), tomorrow)


def test_right_codes_do_not_count_in_a_day(owner, twin):
    for number in range(60):
        now = NOW + number * STEP
        assert is_right(owner, twin.at(now), now)


def test_the_end_of_access_lets_the_user_try_codes_again(owner, twin):
    guess(owner, 6)
    guess(owner, 6, code="a" * 16)
    access.end_access(owner)
    assert is_right(owner, twin.at(NOW))
    assert is_looked_at(owner, "a" * 16, NOW)


def test_no_number_of_ends_of_access_gives_more_codes_in_a_day(owner, twin):
    looked_at = 0
    for _ in range(12):
        looked_at += guess(owner, 6)
        access.end_access(owner)
    assert looked_at == 50


def test_the_user_is_told_by_mail_once_somebody_has_used_up_the_tries(owner, twin, inbox):
    guess(owner, 4)
    assert inbox.deliver() == 0
    guess(owner, 2)
    guess(owner, 6, NOW + timedelta(minutes=15))
    inbox.deliver()
    (told,) = inbox.to(owner.email)
    assert told["Subject"] == "Somebody knows your password"
    assert "owner" in text_of(told)
    assert link_of(told).endswith("/password-reset")
    guess(owner, 6, NOW + timedelta(days=1))
    inbox.deliver()
    assert len(inbox.to(owner.email)) == 2


def test_nobody_is_told_at_an_address_that_may_not_be_theirs(owner, twin, inbox):
    User.objects.update(email_verified_at=None)
    guess(owner, 6)
    assert inbox.deliver() == 1
    assert inbox.mails == []


@pytest.mark.django_db(transaction=True)
def test_of_many_guesses_at_once_five_are_looked_at():
    user = UserFactory.create()
    second_factor_of(user, now=NOW - 2 * STEP)
    outcomes = at_once(*[lambda: mfa.verify_code(user, "000000", now=NOW)] * 20)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds.count(mfa.InvalidCode) == 5
    assert kinds.count(mfa.TooManyAttempts) == 15


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["authenticator", "recovery"])
def test_of_twenty_sign_ins_with_one_code_at_once_one_succeeds(kind):
    user = UserFactory.create()
    twin = second_factor_of(user, now=NOW - 2 * STEP)
    code = mfa.new_recovery_codes(user)[0] if kind == "recovery" else twin.at(NOW)
    assert sorted(at_once(*[lambda: is_right(user, code)] * 20)) == [False] * 19 + [True]


def test_the_database_refuses_what_is_no_seed_and_no_hash(owner):
    with pytest.raises(IntegrityError, match="second_factor_seed_is_32_bytes"):
        SecondFactor.objects.create(user=owner, seed=b"short", last_step=0, created_at=NOW)


def test_the_database_refuses_a_recovery_code_that_is_no_hash(owner):
    with pytest.raises(IntegrityError, match="recovery_code_hash_is_sha256"):
        RecoveryCode.objects.create(user=owner, code_hash=b"short")
