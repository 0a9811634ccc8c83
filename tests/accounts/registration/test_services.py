"""Registration of users, and sign-in before the e-mail is verified."""

from datetime import timedelta
from smtplib import SMTPException

import pytest
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import tasks
from accounts.email import verification
from accounts.models import AuditEvent, Registration, User
from accounts.registration import pending
from accounts.registration import services as registrations
from accounts.tokens import services as tokens
from tests.accounts.registration.steps import EMAIL, mailed_secret, register, verify
from tests.concurrency import run_concurrently
from tests.factories import PASSWORD, StaffFactory, UserFactory
from tests.mail import html_of, link_of, secret_of, text_of


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False


def test_the_link_creates_a_user_who_can_sign_in(inbox):
    register()
    assert not User.objects.exists()
    user = verify(mailed_secret(inbox))
    assert (user.username, user.email) == ("ada", EMAIL)
    assert authenticate(username="ada", password=PASSWORD) == user
    assert not Registration.objects.exists()


def test_the_mail_has_text_and_html_and_links_to_the_public_url(inbox, settings):
    settings.PUBLIC_URL = "https://telemetry.example/below"
    register()
    secret = mailed_secret(inbox)
    (mail,) = inbox.mails
    assert mail["Subject"] == "Confirm your e-mail address"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert link_of(mail) == f"https://telemetry.example/below/verify-email/{secret}"
    assert f'href="https://telemetry.example/below/verify-email/{secret}"' in html_of(mail)
    assert "ada" in text_of(mail)


def test_html_in_a_mail_is_escaped(inbox, settings):
    settings.PUBLIC_URL_PARTS = settings.PUBLIC_URL_PARTS._replace(netloc="a<b>&c")
    register()
    inbox.deliver()
    assert "a<b>&c" in text_of(inbox.mails[0])
    assert "a&lt;b&gt;&amp;c" in html_of(inbox.mails[0])


def test_a_link_works_once_and_expires_after_a_day(inbox):
    register()
    secret = mailed_secret(inbox)
    late = timezone.now() + timedelta(hours=24, seconds=1)
    with pytest.raises(tokens.InvalidToken):
        registrations.verify_email_or_complete(secret, password=PASSWORD, now=late)
    verify(secret)
    with pytest.raises(tokens.InvalidToken):
        verify(secret)


@pytest.mark.django_db(transaction=True)
def test_one_of_twenty_concurrent_requests_with_the_same_link_succeeds(inbox, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password": (20, 900)}
    register()
    secret = mailed_secret(inbox)
    outcomes = run_concurrently(*[lambda: verify(secret)] * 20)
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, tokens.InvalidToken) for outcome in outcomes) == 19
    assert User.objects.count() == 1


def test_a_registration_reserves_neither_username_nor_email(inbox):
    register("ada", "mallory@example.org")
    register("ada", EMAIL)
    assert verify(mailed_secret(inbox)).username == "ada"
    # The other registration needs another username now.
    stranger_secret = secret_of(inbox.to("mallory@example.org")[0])
    with pytest.raises(ValidationError, match="taken"):
        verify(stranger_secret)
    assert verify(stranger_secret, username="mallory").email == "mallory@example.org"
    assert not Registration.objects.exists()


@pytest.mark.parametrize("username", ["owner", "OWNER"])
def test_a_taken_username_is_rejected(owner, username):
    with pytest.raises(ValidationError) as caught:
        register(username)
    assert caught.value.error_dict["username"][0].code == "taken"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"username": "a b"}, "username"),
        ({"username": "a@b"}, "username"),
        ({"username": ""}, "username"),
        ({"email": "no address"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password1234567890" * 80}, "password"),
        ({"password": "adalovelace1815", "username": "adalovelace1815"}, "password"),
        ({"password": "1234567890123"}, "password"),
    ],
)
def test_an_invalid_field_is_rejected_by_its_name(db, given, field):
    with pytest.raises(ValidationError) as caught:
        register(**given)
    assert set(caught.value.error_dict) == {field}
    assert not Registration.objects.exists()


@pytest.mark.parametrize("email", ["owner@example.org", "OWNER@example.org"])
def test_a_registration_with_a_known_email_only_notifies_its_user_by_mail(owner, inbox, email):
    register("ada", email)
    inbox.deliver()
    (mail,) = inbox.mails
    assert (mail["To"], mail["Subject"]) == ("owner@example.org", "You already have an account")
    assert "owner" in text_of(mail)
    # A second attempt does not reveal it either: the username is not reserved.
    register("ada", email)


def test_a_known_and_an_unknown_email_take_the_same_statements(owner):
    def statements(email):
        with CaptureQueriesContext(connection) as seen:
            register(f"new-{email[:3]}", email)
        return [query["sql"][:25] for query in seen.captured_queries]

    assert statements("owner@example.org") == statements(EMAIL)


def test_a_resent_link_and_the_first_link_both_work(inbox):
    register()
    first = mailed_secret(inbox)
    registrations.resend_links(EMAIL.upper())
    second = mailed_secret(inbox)
    assert first != second
    verify(first)
    with pytest.raises(tokens.InvalidToken):
        verify(second)


def test_nothing_is_resent_to_a_verified_or_unknown_email(owner, inbox):
    registrations.resend_links("owner@example.org")
    registrations.resend_links("unknown@example.org")
    assert inbox.deliver() == 4
    assert inbox.mails == []


def test_jobs_and_tables_contain_no_token_email_or_password(inbox):
    register()
    secret = mailed_secret(inbox)
    registrations.resend_links("unknown@example.org")
    args = [str(job.args) for job in ProcrastinateJob.objects.all()]
    assert args
    assert not any("@" in one or "tsv_" in one for one in args)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(r::text, ' ') FROM registrations r")
        stored = cursor.fetchone()[0]
    assert secret not in stored
    assert PASSWORD not in stored


def test_a_mail_that_the_server_rejected_is_sent_by_a_retry(inbox):
    register()
    inbox.rejects = True
    with pytest.raises(SMTPException):
        inbox.deliver()
    inbox.rejects = False
    verify(mailed_secret(inbox))
    decision = tasks.send_mail.retry_strategy.get_retry_decision
    job = type("Job", (), {"attempts": 1})
    assert decision(exception=SMTPException(), job=job).retry_at is not None


def test_registrations_that_were_not_completed_expire_after_a_day(inbox):
    register()
    assert pending.delete_expired(timezone.now()) == 0
    assert pending.delete_expired(timezone.now() + timedelta(hours=24)) == 1


@pytest.mark.parametrize("mode", ["invitation", "closed"])
def test_a_registration_is_rejected_unless_registration_is_open(db, settings, mode):
    settings.REGISTRATION_MODE = mode
    with pytest.raises(pending.RegistrationClosed):
        register()


class TestUnverifiedLoginAllowed:
    """Unverified users can sign in until another user verifies their e-mail."""

    @pytest.fixture(autouse=True)
    def _unverified_login_allowed(self, settings):
        settings.ALLOW_UNVERIFIED_LOGIN = True

    def test_a_user_signs_in_before_the_email_is_verified(self, inbox):
        register()
        user = authenticate(username="ada", password=PASSWORD)
        assert user is not None
        assert user.email_verified_at is None
        verify(mailed_secret(inbox))
        user.refresh_from_db()
        assert user.email_verified_at is not None

    def test_an_unverified_email_is_released_when_another_user_verifies_it(self, inbox):
        register("squatter")
        register("ada")
        ada = verify(mailed_secret(inbox))
        assert (ada.username, ada.email) == ("ada", EMAIL)
        squatter = User.objects.get(username="squatter")
        assert squatter.email == f"{squatter.pk}@released.invalid"
        assert authenticate(username="squatter", password=PASSWORD) == squatter

    def test_the_link_for_a_released_email_is_rejected(self, inbox):
        register("squatter")
        claim = mailed_secret(inbox)
        register("ada")
        verify(mailed_secret(inbox))
        with pytest.raises(tokens.InvalidToken):
            verify(claim)

    def test_the_setting_applies_to_existing_users(self, inbox, settings):
        register()
        settings.ALLOW_UNVERIFIED_LOGIN = False
        assert authenticate(username="ada", password=PASSWORD) is None
        registrations.resend_links(EMAIL)
        verify(mailed_secret(inbox))
        assert authenticate(username="ada", password=PASSWORD) is not None


def test_links_are_resent_only_to_unverified_users(inbox):
    StaffFactory.create(username="verified")
    UserFactory.create(username="unverified", email_verified_at=None)
    for name in ("verified", "unverified"):
        registrations.resend_links(f"{name}@example.org")
    inbox.deliver()
    assert [mail["To"] for mail in inbox.mails] == ["unverified@example.org"]


def test_registration_and_email_change_are_recorded_in_the_audit_trail(inbox, owner):
    register()
    user = verify(mailed_secret(inbox))
    verification.request_email_change(user, "new@example.org")
    verify(mailed_secret(inbox, "new@example.org"))
    trail = AuditEvent.objects.for_owner(user).order_by("created_at")
    actions = [event.action for event in trail if not event.action.startswith("token.")]
    assert actions == ["user.joined", "address.asked", "address.confirmed"]
    assert trail.get(action="address.confirmed").before["email"] == EMAIL
