"""Joining, by oneself and invited."""

from datetime import timedelta
from smtplib import SMTPException

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import tasks
from accounts.email import verification
from accounts.models import AuditEvent, Registration, User
from accounts.registration import services as registrations
from accounts.throttling import RateLimitExceeded
from accounts.tokens import services as tokens
from accounts.users import deletion, permissions
from tests.concurrency import at_once
from tests.factories import PASSWORD, StaffFactory, UserFactory
from tests.mail import Inbox, html_of, link_of, secret_of, text_of

ADDRESS = "ada@example.org"


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False


def register(username="ada", email=ADDRESS, password=PASSWORD):
    registrations.register(username, email, password, now=timezone.now())


def mailed_secret(inbox: Inbox, address: str = ADDRESS) -> str:
    inbox.deliver()
    return secret_of(inbox.to(address)[-1])


def verify(secret, password=PASSWORD, **given):
    return registrations.verify_email_or_complete(
        secret, password=password, now=timezone.now(), **given
    )


def test_who_opens_the_link_becomes_a_user_who_can_sign_in(inbox):
    register()
    assert not User.objects.exists()
    user = verify(mailed_secret(inbox))
    assert (user.username, user.email) == ("ada", ADDRESS)
    assert authenticate(username="ada", password=PASSWORD) == user
    assert not Registration.objects.exists()


def test_the_mail_is_text_and_html_and_leads_to_the_public_address(inbox, settings):
    settings.PUBLIC_URL = "https://telemetry.example/below"
    register()
    secret = mailed_secret(inbox)
    (mail,) = inbox.mails
    assert mail["Subject"] == "Confirm your e-mail address"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert link_of(mail) == f"https://telemetry.example/below/verify-email/{secret}"
    assert f'href="https://telemetry.example/below/verify-email/{secret}"' in html_of(mail)
    assert "ada" in text_of(mail)


def test_a_name_is_shown_in_a_mail_as_it_is_and_never_as_html(inbox, settings):
    settings.PUBLIC_URL_PARTS = settings.PUBLIC_URL_PARTS._replace(netloc="a<b>&c")
    register()
    inbox.deliver()
    assert "a<b>&c" in text_of(inbox.mails[0])
    assert "a&lt;b&gt;&amp;c" in html_of(inbox.mails[0])


def test_a_link_works_once_and_for_a_day(inbox):
    register()
    secret = mailed_secret(inbox)
    late = timezone.now() + timedelta(hours=24, seconds=1)
    with pytest.raises(tokens.InvalidToken):
        registrations.verify_email_or_complete(secret, password=PASSWORD, now=late)
    verify(secret)
    with pytest.raises(tokens.InvalidToken):
        verify(secret)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_who_open_a_link_at_once_one_succeeds(inbox, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password": (20, 900)}
    register()
    secret = mailed_secret(inbox)
    outcomes = at_once(*[lambda: verify(secret)] * 20)
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, tokens.InvalidToken) for outcome in outcomes) == 19
    assert User.objects.count() == 1


def test_a_registration_holds_neither_name_nor_address(inbox):
    register("ada", "mallory@example.org")
    register("ada", ADDRESS)
    assert verify(mailed_secret(inbox)).username == "ada"
    # What the others wait for is over, or needs another name.
    theirs = secret_of(inbox.to("mallory@example.org")[0])
    with pytest.raises(ValidationError, match="taken"):
        verify(theirs)
    assert verify(theirs, username="mallory").email == "mallory@example.org"
    assert not Registration.objects.exists()


class TestSomebodyElseRegistersMyAddress:
    """The stranger knows the password that they registered, and I read the mail."""

    def test_whoever_reads_the_mail_does_not_make_an_account_of_the_stranger(self, inbox):
        register("stranger", password="a password of a stranger")
        secret = mailed_secret(inbox)
        for password in ("", "a password of my own"):
            with pytest.raises(ValidationError) as refused:
                verify(secret, password)
            assert set(refused.value.error_dict) == {"password"}
        assert not User.objects.exists()

    def test_i_start_over_and_my_link_works_and_the_ones_before_do_not(self, inbox):
        register("ada", password="a password of a stranger")
        theirs = mailed_secret(inbox)
        registrations.resend_links(ADDRESS)
        theirs_again = mailed_secret(inbox)
        register("ada", "ADA@example.org")
        mine = mailed_secret(inbox, "ADA@example.org")
        for secret in (theirs, theirs_again):
            with pytest.raises(tokens.InvalidToken):
                verify(secret, "a password of a stranger")
        verify(mine)
        assert authenticate(username="ada", password=PASSWORD)

    def test_a_registration_replaces_no_invitation(self, inbox, staff, settings):
        settings.REGISTRATION_MODE = "open"
        invitation = registrations.invite(staff, ADDRESS, now=timezone.now())
        register()
        assert Registration.objects.filter(pk=invitation.pk).exists()

    def test_the_password_is_not_guessed_without_end(self, inbox, settings):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password": (2, 900)}
        register()
        secret = mailed_secret(inbox)
        for _ in range(2):
            with pytest.raises(ValidationError):
                verify(secret, "wrong")
        with pytest.raises(RateLimitExceeded):
            verify(secret)

    def test_a_stranger_who_is_a_user_already_gets_my_address_no_other_way(self, inbox, stranger):
        verification.request_email_change(stranger, ADDRESS)
        secret = mailed_secret(inbox)
        with pytest.raises(ValidationError):
            verify(secret, "a password of my own")
        # The stranger, who is signed in, does not read the mail.
        assert (
            registrations.verify_email_or_complete(secret, by=stranger, now=timezone.now())
            == stranger
        )

    def test_nobody_is_asked_for_a_password_that_there_is_not(self, inbox):
        user = UserFactory.create(username="mailed", email_verified_at=None)
        user.set_unusable_password()
        user.save()
        registrations.resend_links(user.email)
        assert verify(mailed_secret(inbox, user.email), "") == user


@pytest.mark.parametrize("username", ["owner", "OWNER"])
def test_a_username_that_is_taken_is_told(owner, username):
    with pytest.raises(ValidationError) as refused:
        register(username)
    assert refused.value.error_dict["username"][0].code == "taken"


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
def test_what_cannot_be_is_told_by_field(db, given, field):
    with pytest.raises(ValidationError) as refused:
        register(**given)
    assert set(refused.value.error_dict) == {field}
    assert not Registration.objects.exists()


@pytest.mark.parametrize("known", ["owner@example.org", "OWNER@example.org"])
def test_whose_address_it_is_already_is_told_so_by_mail_and_nobody_else_learns_of_it(
    owner, inbox, known
):
    register("ada", known)
    inbox.deliver()
    (mail,) = inbox.mails
    assert (mail["To"], mail["Subject"]) == ("owner@example.org", "You have an account already")
    assert "owner" in text_of(mail)
    # Nor does a second try tell: the name is not held.
    register("ada", known)


def test_a_known_and_an_unknown_address_take_the_same_statements(owner):
    def statements(email):
        with CaptureQueriesContext(connection) as seen:
            register(f"new-{email[:3]}", email)
        return [query["sql"][:25] for query in seen.captured_queries]

    assert statements("owner@example.org") == statements(ADDRESS)


def test_a_resent_link_works_as_well_as_the_first(inbox):
    register()
    first = mailed_secret(inbox)
    registrations.resend_links(ADDRESS.upper())
    second = mailed_secret(inbox)
    assert first != second
    verify(first)
    with pytest.raises(tokens.InvalidToken):
        verify(second)


def test_nothing_is_resent_to_who_waits_for_nothing(owner, inbox):
    registrations.resend_links("owner@example.org")
    registrations.resend_links("nobody@example.org")
    assert inbox.deliver() == 4
    assert inbox.mails == []


def test_no_secret_and_no_address_is_in_a_job_or_a_table(inbox):
    register()
    secret = mailed_secret(inbox)
    registrations.resend_links("nobody@example.org")
    args = [str(job.args) for job in ProcrastinateJob.objects.all()]
    assert args
    assert not any("@" in one or "tsv_" in one for one in args)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(r::text, ' ') FROM registrations r")
        stored = cursor.fetchone()[0]
    assert secret not in stored
    assert PASSWORD not in stored


def test_a_mail_that_no_server_took_is_sent_when_the_worker_tries_again(inbox):
    register()
    inbox.refuses = True
    with pytest.raises(SMTPException):
        inbox.deliver()
    inbox.refuses = False
    verify(mailed_secret(inbox))
    decision = tasks.send_mail.retry_strategy.get_retry_decision
    job = type("Job", (), {"attempts": 1})
    assert decision(exception=SMTPException(), job=job).retry_at is not None


def test_registrations_that_nobody_completed_are_forgotten(inbox):
    register()
    assert registrations.delete_expired(timezone.now()) == 0
    assert registrations.delete_expired(timezone.now() + timedelta(hours=24)) == 1


@pytest.mark.parametrize("who", ["invitation", "closed"])
def test_where_registration_is_not_open_nobody_registers(db, settings, who):
    settings.REGISTRATION_MODE = who
    with pytest.raises(registrations.RegistrationClosed):
        register()


class TestUnverifiedMaySignIn:
    """Where there is no mail: a user at once, whose address may be claimed by who proves it."""

    @pytest.fixture(autouse=True)
    def _at_once(self, settings):
        settings.ALLOW_UNVERIFIED_LOGIN = True

    def test_one_is_a_user_at_once_and_proves_the_address_later(self, inbox):
        register()
        user = authenticate(username="ada", password=PASSWORD)
        assert user is not None
        assert user.email_verified_at is None
        verify(mailed_secret(inbox))
        user.refresh_from_db()
        assert user.email_verified_at is not None

    def test_a_claimed_address_gives_way_to_who_proves_it(self, inbox):
        register("squatter")
        register("ada")
        ada = verify(mailed_secret(inbox))
        assert (ada.username, ada.email) == ("ada", ADDRESS)
        squatter = User.objects.get(username="squatter")
        assert squatter.email == f"{squatter.pk}@released.invalid"
        assert authenticate(username="squatter", password=PASSWORD) == squatter

    def test_the_link_of_a_claim_that_gave_way_is_dead(self, inbox):
        register("squatter")
        claim = mailed_secret(inbox)
        register("ada")
        verify(mailed_secret(inbox))
        with pytest.raises(tokens.InvalidToken):
            verify(claim)

    def test_the_setting_decides_for_who_is_there_already(self, inbox, settings):
        register()
        settings.ALLOW_UNVERIFIED_LOGIN = False
        assert authenticate(username="ada", password=PASSWORD) is None
        registrations.resend_links(ADDRESS)
        verify(mailed_secret(inbox))
        assert authenticate(username="ada", password=PASSWORD) is not None


class TestInvitations:
    @pytest.fixture(autouse=True)
    def _by_invitation(self, settings):
        settings.REGISTRATION_MODE = "invitation"

    @pytest.fixture
    def secret(self, staff, inbox):
        registrations.invite(staff, ADDRESS, now=timezone.now())
        return mailed_secret(inbox)

    def accept(self, secret, username="ada", password=PASSWORD):
        return registrations.accept_invitation(
            secret, username=username, password=password, now=timezone.now()
        )

    def test_who_was_invited_chooses_name_and_password(self, secret, inbox):
        assert "staff invites you" in text_of(inbox.mails[0])
        user = self.accept(secret)
        assert user.email_verified_at is not None
        assert authenticate(username=ADDRESS, password=PASSWORD) == user
        with pytest.raises(tokens.InvalidToken):
            self.accept(secret, "another")

    def test_a_refused_choice_leaves_the_invitation_open(self, secret, owner):
        for wrong in ({"username": "owner"}, {"password": "short"}):
            with pytest.raises(ValidationError):
                self.accept(secret, **wrong)
        self.accept(secret)

    def test_a_second_invitation_replaces_the_first(self, secret, staff, inbox):
        registrations.invite(staff, ADDRESS.upper(), now=timezone.now())
        with pytest.raises(tokens.InvalidToken):
            self.accept(secret)
        self.accept(mailed_secret(inbox, "ADA@example.org"))

    def test_an_invitation_is_no_registration_and_the_reverse(self, secret, inbox, settings):
        with pytest.raises(tokens.InvalidToken):
            verify(secret)
        settings.REGISTRATION_MODE = "open"
        register("bob", "bob@example.org")
        with pytest.raises(tokens.InvalidToken):
            self.accept(mailed_secret(inbox, "bob@example.org"))

    def test_an_invitation_is_open_for_a_week(self, secret):
        at = timezone.now() + timedelta(days=7, seconds=1)
        with pytest.raises(tokens.InvalidToken):
            registrations.accept_invitation(secret, username="ada", password=PASSWORD, now=at)

    def test_a_user_needs_no_invitation(self, owner, staff):
        with pytest.raises(ValidationError, match="already"):
            registrations.invite(staff, owner.email, now=timezone.now())

    def test_nobody_is_invited_where_registration_is_closed(self, staff, settings):
        settings.REGISTRATION_MODE = "closed"
        with pytest.raises(registrations.RegistrationClosed):
            registrations.invite(staff, ADDRESS, now=timezone.now())

    @pytest.mark.parametrize("end", ["deactivated", "no staff", "no right", "deleted"])
    def test_an_invitation_ends_with_its_inviters_right_to_invite(self, inbox, staff, client, end):
        inviter = UserFactory.create(username="inviter", is_staff=True)
        inviter.user_permissions.add(Permission.objects.get(codename="add_registration"))
        inviter = User.objects.get(pk=inviter.pk)
        registrations.invite(inviter, ADDRESS, now=timezone.now())
        secret = mailed_secret(inbox)
        registrations.invite(inviter, "bob@example.org", now=timezone.now())
        match end:
            case "deactivated":
                permissions.deactivate(inviter, by=staff)
            case "no staff":
                User.objects.filter(pk=inviter.pk).update(is_staff=False)
            case "no right":
                inviter.user_permissions.clear()
            case "deleted":
                deletion.close_account(inviter, now=timezone.now())
        with pytest.raises(tokens.InvalidToken):
            self.accept(secret)
        assert client.get(f"/join/{secret}", follow=True).status_code == 410
        # Nor is one mailed that was asked for before.
        inbox.deliver()
        assert inbox.to("bob@example.org") == []

    @pytest.mark.parametrize(
        ("then", "invited", "registered"),
        [("open", True, True), ("invitation", True, False), ("closed", False, False)],
    )
    def test_who_may_join_is_decided_when_the_link_is_used(
        self, inbox, staff, settings, client, anonymous_api, then, invited, registered
    ):
        registrations.invite(staff, ADDRESS, now=timezone.now())
        settings.REGISTRATION_MODE = "open"
        register("bob", "bob@example.org")
        invitation = mailed_secret(inbox)
        registration = secret_of(inbox.to("bob@example.org")[0])
        settings.REGISTRATION_MODE = then
        form = {"username": "ada", "password": PASSWORD}
        if not invited:
            answer = anonymous_api.post("/api/v1/auth/join", {**form, "token": invitation})
            assert answer.status_code == 403
        client.get(f"/join/{invitation}")
        assert client.post("/join", form).status_code == (302 if invited else 403)
        client.get(f"/verify-email/{registration}")
        assert client.post("/verify-email", {"password": PASSWORD}).status_code == (
            302 if registered else 403
        )
        assert User.objects.filter(username="ada").exists() == invited
        assert User.objects.filter(username="bob").exists() == registered


class TestAnotherAddress:
    NEW = "new@example.org"

    def change(self, user, email=NEW):
        verification.request_email_change(user, email)

    def test_the_old_one_holds_and_is_told_until_the_new_one_is_proven(self, owner, inbox):
        self.change(owner)
        inbox.deliver()
        owner.refresh_from_db()
        assert (owner.email, owner.pending_email) == ("owner@example.org", self.NEW)
        (told,) = inbox.to("owner@example.org")
        assert self.NEW in text_of(told)
        verify(secret_of(inbox.to(self.NEW)[0]))
        owner.refresh_from_db()
        assert (owner.email, owner.pending_email) == (self.NEW, "")

    def test_an_address_that_is_somebody_elses_is_not_told_but_mailed(self, owner, stranger, inbox):
        self.change(owner, stranger.email)
        inbox.deliver()
        (mail,) = inbox.to(stranger.email)
        assert mail["Subject"] == "You have an account already"

    def test_the_link_for_an_address_that_was_given_up_is_dead(self, owner, inbox):
        self.change(owner)
        first = mailed_secret(inbox, self.NEW)
        self.change(owner, "third@example.org")
        with pytest.raises(tokens.InvalidToken):
            verify(first)
        second = mailed_secret(inbox, "third@example.org")
        verification.cancel_change(owner)
        with pytest.raises(tokens.InvalidToken):
            verify(second)

    def test_who_proves_it_first_has_it(self, owner, stranger, inbox):
        for user in (owner, stranger):
            self.change(user)
        inbox.deliver()
        first, second = map(secret_of, inbox.to(self.NEW))
        verify(first)
        with pytest.raises(tokens.InvalidToken):
            verify(second)
        stranger.refresh_from_db()
        assert stranger.email == "stranger@example.org"

    def test_links_mailed_to_the_old_address_end_with_it(self, owner, inbox):
        _, reset = tokens.issue(owner, scope=tokens.Scope.PASSWORD_RESET, now=timezone.now())
        self.change(owner)
        verify(mailed_secret(inbox, self.NEW))
        with pytest.raises(tokens.InvalidToken):
            tokens.get_active(reset.text, scope=tokens.Scope.PASSWORD_RESET, now=timezone.now())

    def test_ones_own_address_is_no_other_one(self, owner):
        with pytest.raises(ValidationError):
            self.change(owner, "OWNER@example.org")

    def test_a_secret_of_somebody_switched_off_proves_nothing(self, owner, inbox):
        self.change(owner)
        secret = mailed_secret(inbox, self.NEW)
        User.objects.update(is_active=False)
        with pytest.raises(tokens.InvalidToken):
            verify(secret)


def test_staff_and_users_made_otherwise_are_mailed_only_what_they_wait_for(inbox):
    StaffFactory.create(username="verified")
    UserFactory.create(username="unverified", email_verified_at=None)
    for name in ("verified", "unverified"):
        registrations.resend_links(f"{name}@example.org")
    inbox.deliver()
    assert [mail["To"] for mail in inbox.mails] == ["unverified@example.org"]


def test_the_trail_tells_who_joined_and_what_became_of_an_address(inbox, owner):
    register()
    user = verify(mailed_secret(inbox))
    verification.request_email_change(user, "new@example.org")
    verify(mailed_secret(inbox, "new@example.org"))
    trail = AuditEvent.objects.of(user).order_by("created_at")
    told = [event.action for event in trail if not event.action.startswith("token.")]
    assert told == ["user.joined", "address.asked", "address.confirmed"]
    assert trail.get(action="address.confirmed").before["email"] == ADDRESS


def test_an_invitation_can_be_withdrawn(staff, inbox, db):
    invitation = registrations.invite(staff, ADDRESS, now=timezone.now())
    secret = mailed_secret(inbox)
    registrations.cancel_registration(invitation)
    with pytest.raises(tokens.InvalidToken):
        registrations.get_open_registration(secret, now=timezone.now())
