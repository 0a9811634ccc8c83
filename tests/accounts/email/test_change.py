"""Changes of the e-mail address."""

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import tasks
from accounts.email import verification
from accounts.models import User
from accounts.tokens import services as tokens
from tests.accounts.registration.steps import mailed_secret, verify
from tests.conftest import signed_in
from tests.mail import secret_of, text_of


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False


class TestEmailChange:
    NEW = "new@example.org"

    def change(self, user, email=NEW):
        verification.request_email_change(user, email)

    def test_the_old_email_stays_and_is_notified_until_the_new_one_is_verified(self, owner, inbox):
        self.change(owner)
        inbox.deliver()
        owner.refresh_from_db()
        assert (owner.email, owner.pending_email) == ("owner@example.org", self.NEW)
        (mail,) = inbox.to("owner@example.org")
        assert self.NEW in text_of(mail)
        verify(secret_of(inbox.to(self.NEW)[0]))
        owner.refresh_from_db()
        assert (owner.email, owner.pending_email) == (self.NEW, "")

    def test_the_old_email_is_notified_of_a_change_that_was_verified_before_the_notice_was_sent(
        self, owner, inbox
    ):
        self.change(owner)
        first, *others = ProcrastinateJob.objects.filter(
            task_name="accounts.tasks.send_mail"
        ).order_by("id")
        tasks.send_mail(**first.args)
        verify(secret_of(inbox.to(self.NEW)[0]))
        for job in others:
            tasks.send_mail(**job.args)
        (mail,) = inbox.to("owner@example.org")
        assert mail["Subject"] == "Change of your e-mail address requested"
        assert self.NEW in text_of(mail)

    def test_the_old_email_is_notified_when_the_new_one_is_verified(self, owner, inbox):
        self.change(owner)
        verify(mailed_secret(inbox, self.NEW))
        inbox.deliver()
        _requested, changed = inbox.to("owner@example.org")
        assert changed["Subject"] == "Your e-mail address was changed"
        assert self.NEW in text_of(changed)

    def test_an_unverified_old_email_is_not_notified(self, owner, inbox):
        User.objects.update(email_verified_at=None)
        owner.refresh_from_db()
        self.change(owner)
        verify(mailed_secret(inbox, self.NEW))
        inbox.deliver()
        assert not inbox.to("owner@example.org")

    def test_a_queued_notice_of_an_earlier_version_is_sent(self, owner, inbox):
        self.change(owner)
        tasks.send_mail(kind="address-change", subject=str(owner.pk))
        (mail,) = inbox.to("owner@example.org")
        assert self.NEW in text_of(mail)

    def test_a_change_to_the_email_of_another_user_notifies_that_user(self, owner, stranger, inbox):
        self.change(owner, stranger.email)
        inbox.deliver()
        (mail,) = inbox.to(stranger.email)
        assert mail["Subject"] == "You already have an account"

    def test_the_link_for_a_replaced_or_cancelled_change_is_rejected(self, owner, inbox):
        self.change(owner)
        first = mailed_secret(inbox, self.NEW)
        self.change(owner, "third@example.org")
        with pytest.raises(tokens.InvalidToken):
            verify(first)
        second = mailed_secret(inbox, "third@example.org")
        verification.cancel_change(owner)
        with pytest.raises(tokens.InvalidToken):
            verify(second)

    def test_the_first_user_who_verifies_an_email_gets_it(self, owner, stranger, inbox):
        for user in (owner, stranger):
            self.change(user)
        inbox.deliver()
        first, second = map(secret_of, inbox.to(self.NEW))
        verify(first)
        with pytest.raises(tokens.InvalidToken):
            verify(second)
        stranger.refresh_from_db()
        assert stranger.email == "stranger@example.org"

    def test_links_mailed_to_the_old_email_are_invalid_after_the_change(self, owner, inbox):
        _, reset = tokens.issue(owner, scope=tokens.Scope.PASSWORD_RESET, now=timezone.now())
        self.change(owner)
        verify(mailed_secret(inbox, self.NEW))
        with pytest.raises(tokens.InvalidToken):
            tokens.get_active(reset.text, scope=tokens.Scope.PASSWORD_RESET, now=timezone.now())

    @pytest.mark.parametrize("change", ["request", "cancel"])
    def test_a_requested_or_cancelled_change_keeps_links_of_a_password_reset(self, owner, change):
        now = timezone.now()
        _, reset = tokens.issue(owner, scope=tokens.Scope.PASSWORD_RESET, now=now)
        if change == "request":
            self.change(owner)
        else:
            assert signed_in(owner).post("/account/address/keep").status_code == 302
        assert tokens.get_active(reset.text, scope=tokens.Scope.PASSWORD_RESET, now=now)

    def test_a_change_to_the_users_own_email_is_rejected(self, owner):
        with pytest.raises(ValidationError):
            self.change(owner, "OWNER@example.org")

    def test_the_link_of_a_deactivated_user_is_rejected(self, owner, inbox):
        self.change(owner)
        secret = mailed_secret(inbox, self.NEW)
        User.objects.update(is_active=False)
        with pytest.raises(tokens.InvalidToken):
            verify(secret)
