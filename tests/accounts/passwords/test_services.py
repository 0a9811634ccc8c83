"""Passwords: checked, changed and reset."""

from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import throttling
from accounts.models import User
from accounts.passwords import services as passwords
from accounts.tokens import services as tokens
from tests.concurrency import run_concurrently
from tests.factories import PASSWORD, UserFactory, user_token_and_row
from tests.hashers import CheapHasher
from tests.mail import secret_of, text_of

NEW = "a quite long sentence"


def reset(secret, password=NEW):
    return passwords.reset_with_token(secret, password, now=timezone.now())


@pytest.fixture
def secret(owner, inbox):
    passwords.request_reset("Owner@Example.org")
    inbox.deliver()
    return secret_of(inbox.to(owner.email)[0])


def test_a_mailed_link_sets_a_new_password_and_ends_sessions_and_tokens(owner, secret, inbox):
    browser = Client()
    browser.force_login(owner)
    token, _ = user_token_and_row(owner)
    assert reset(secret) == owner
    assert authenticate(username="owner", password=NEW) == owner
    assert authenticate(username="owner", password=PASSWORD) is None
    assert browser.get("/").status_code == 302
    token.refresh_from_db()
    assert token.revoked
    inbox.deliver()
    assert inbox.mails[-1]["Subject"] == "Your password was changed"


def test_a_link_sets_a_password_once_and_expires_after_an_hour(secret):
    with pytest.raises(tokens.InvalidToken):
        passwords.reset_with_token(secret, NEW, now=timezone.now() + timedelta(hours=1, seconds=1))
    reset(secret)
    with pytest.raises(tokens.InvalidToken):
        reset(secret, "another long sentence")


def test_a_rejected_password_does_not_consume_the_link(secret):
    with pytest.raises(ValidationError):
        reset(secret, "short")
    reset(secret)


@pytest.mark.django_db(transaction=True)
def test_one_of_twenty_concurrent_resets_with_the_same_link_succeeds(secret):
    outcomes = run_concurrently(*[lambda n=n: reset(secret, f"{NEW} {n}") for n in range(20)])
    (winner,) = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, User)]
    assert sum(isinstance(outcome, tokens.InvalidToken) for outcome in outcomes) == 19
    assert authenticate(username="owner", password=f"{NEW} {winner}") is not None


def test_a_reset_verifies_the_email(owner, secret):
    User.objects.update(email_verified_at=None)
    reset(secret)
    owner.refresh_from_db()
    assert owner.email_verified_at is not None


def test_no_mail_is_sent_to_an_unknown_email_or_a_deactivated_user(owner, inbox):
    User.objects.update(is_active=False)
    for email in (owner.email, "unknown@example.org"):
        passwords.request_reset(email)
    assert inbox.deliver() == 2
    assert inbox.mails == []


def test_a_known_and_an_unknown_email_take_the_same_statements(owner):
    def statements(email):
        with CaptureQueriesContext(connection) as seen:
            passwords.request_reset(email)
        return [query["sql"][:30] for query in seen.captured_queries]

    assert statements(owner.email) == statements("unknown@example.org")
    first, second = [job.args for job in ProcrastinateJob.objects.all()]
    assert set(first) == set(second) == {"kind", "language", "subject"}


def test_wrong_passwords_of_a_signed_in_user_are_limited(owner, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password": (2, 60)}
    now = timezone.now()
    passwords.check_current_password(owner, PASSWORD, now=now)
    for _ in range(2):
        with pytest.raises(passwords.WrongPassword):
            passwords.check_current_password(owner, "wrong", now=now)
    with pytest.raises(throttling.RateLimitExceeded):
        passwords.check_current_password(owner, PASSWORD, now=now)


class TestOutdatedHashes:
    """An outdated hash is replaced when the right password is checked."""

    @pytest.fixture(autouse=True)
    def _outdated(self, owner, monkeypatch):
        monkeypatch.setattr(CheapHasher, "must_update", lambda self, encoded: True)

    def test_an_outdated_hash_is_replaced_by_one_of_the_same_password(self, owner):
        before = owner.password
        assert owner.check_password(PASSWORD)
        assert owner.password != before
        again = User.objects.get(pk=owner.pk)
        assert again.password == owner.password
        assert again.check_password(PASSWORD)

    def test_a_wrong_password_does_not_replace_the_hash(self, owner):
        before = owner.password
        assert not owner.check_password("wrong")
        assert User.objects.get(pk=owner.pk).password == before

    def test_a_concurrent_password_change_is_not_overwritten(self, owner, monkeypatch):
        verify = CheapHasher.verify

        def verify_while_the_owner_changes_it(self, password, encoded):
            monkeypatch.setattr(CheapHasher, "verify", verify)
            right = verify(self, password, encoded)
            passwords.set_password(User.objects.get(pk=owner.pk), NEW)
            return right

        thief = User.objects.get(pk=owner.pk)
        monkeypatch.setattr(CheapHasher, "verify", verify_while_the_owner_changes_it)
        thief.check_password(PASSWORD)
        now = User.objects.get(pk=owner.pk)
        assert now.check_password(NEW)
        assert not now.check_password(PASSWORD)


class TestSeveralUsersWithTheSameUnverifiedEmail:
    EMAIL = "victim@example.org"

    def claim(self, *names, email=EMAIL, **fields):
        return [
            UserFactory.create(username=name, email=email, email_verified_at=None, **fields)
            for name in names
        ]

    def mailed(self, inbox, email=EMAIL):
        passwords.request_reset(email)
        inbox.deliver()
        return inbox.mails

    def test_each_account_gets_a_mail_with_its_username(self, db, inbox):
        victim, evil = self.claim("victim", "evil")
        first, second = self.mailed(inbox, self.EMAIL.upper())
        assert "the account victim at" in text_of(first)
        assert "the account evil at" in text_of(second)
        assert reset(secret_of(first)) == victim
        victim.refresh_from_db()
        evil.refresh_from_db()
        assert victim.email_verified_at is not None
        assert evil.email == f"{evil.pk}@released.invalid"
        with pytest.raises(tokens.InvalidToken):
            reset(secret_of(second))

    def test_the_oldest_accounts_get_a_mail_when_there_are_too_many(self, db, inbox):
        self.claim("victim", *[f"evil{n}" for n in range(8)])
        mails = self.mailed(inbox)
        assert len(mails) == passwords.MAX_CLAIMS
        assert "the account victim at" in text_of(mails[0])

    def test_deactivated_accounts_do_not_count(self, db, inbox):
        self.claim(*[f"gone{n}" for n in range(8)], is_active=False)
        self.claim("victim")
        (mail,) = self.mailed(inbox)
        assert "the account victim at" in text_of(mail)

    def test_only_the_account_with_the_verified_email_gets_a_mail(self, db, inbox):
        self.claim("evil")
        UserFactory.create(username="victim", email=self.EMAIL)
        self.claim("eve")
        (mail,) = self.mailed(inbox)
        assert "the account victim at" in text_of(mail)

    def test_an_email_that_only_the_database_folds_to_the_same_gets_no_mail(self, db, inbox):
        self.claim("victim")
        # PostgreSQL folds a dotted capital I to i in lower case; `fold` does not.
        self.claim("evil", email="v\u0130ctim@example.org")
        (mail,) = self.mailed(inbox)
        assert mail["To"] == self.EMAIL
        assert User.objects.with_email(self.EMAIL).username == "victim"

    def test_one_and_several_accounts_take_the_same_statements(self, db):
        self.claim("victim", "evil")
        self.claim("other", email="other@example.org")

        def statements(email):
            with CaptureQueriesContext(connection) as seen:
                passwords.request_reset(email)
            return [query["sql"][:30] for query in seen.captured_queries]

        assert statements(self.EMAIL) == statements("other@example.org")
