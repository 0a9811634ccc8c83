"""Invitations by staff."""

from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import User
from accounts.registration import invitations, pending
from accounts.tokens import services as tokens
from accounts.users import deletion, permissions
from tests.accounts.registration.steps import EMAIL, mailed_secret, register, verify
from tests.factories import PASSWORD, UserFactory
from tests.mail import secret_of, text_of


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False


class TestInvitations:
    @pytest.fixture(autouse=True)
    def _invitation_required(self, settings):
        settings.REGISTRATION_MODE = "invitation"

    @pytest.fixture
    def secret(self, staff, inbox):
        invitations.invite(staff, EMAIL, now=timezone.now())
        return mailed_secret(inbox)

    def accept(self, secret, username="ada", password=PASSWORD):
        return invitations.accept_invitation(
            secret, username=username, password=password, now=timezone.now()
        )

    def test_an_invited_user_chooses_username_and_password(self, secret, inbox):
        assert "staff has invited you" in text_of(inbox.mails[0])
        user = self.accept(secret)
        assert user.email_verified_at is not None
        assert authenticate(username=EMAIL, password=PASSWORD) == user
        with pytest.raises(tokens.InvalidToken):
            self.accept(secret, "another")

    def test_invalid_data_does_not_consume_the_invitation(self, secret, owner):
        for wrong in ({"username": "owner"}, {"password": "short"}):
            with pytest.raises(ValidationError):
                self.accept(secret, **wrong)
        self.accept(secret)

    def test_a_second_invitation_replaces_the_first(self, secret, staff, inbox):
        invitations.invite(staff, EMAIL.upper(), now=timezone.now())
        with pytest.raises(tokens.InvalidToken):
            self.accept(secret)
        self.accept(mailed_secret(inbox, "ADA@example.org"))

    def test_tokens_of_invitations_and_registrations_are_not_interchangeable(
        self, secret, inbox, settings
    ):
        with pytest.raises(tokens.InvalidToken):
            verify(secret)
        settings.REGISTRATION_MODE = "open"
        register("bob", "bob@example.org")
        with pytest.raises(tokens.InvalidToken):
            self.accept(mailed_secret(inbox, "bob@example.org"))

    def test_an_invitation_expires_after_a_week(self, secret):
        at = timezone.now() + timedelta(days=7, seconds=1)
        with pytest.raises(tokens.InvalidToken):
            invitations.accept_invitation(secret, username="ada", password=PASSWORD, now=at)

    def test_an_invitation_to_an_existing_user_is_rejected(self, owner, staff):
        with pytest.raises(ValidationError, match="already"):
            invitations.invite(staff, owner.email, now=timezone.now())

    def test_an_invitation_is_rejected_when_registration_is_closed(self, staff, settings):
        settings.REGISTRATION_MODE = "closed"
        with pytest.raises(pending.RegistrationClosed):
            invitations.invite(staff, EMAIL, now=timezone.now())

    @pytest.mark.parametrize("end", ["deactivated", "no staff", "no right", "deleted"])
    def test_an_invitation_is_invalid_when_its_inviter_may_not_invite_any_more(
        self, inbox, staff, client, end
    ):
        inviter = UserFactory.create(username="inviter", is_staff=True)
        inviter.user_permissions.add(Permission.objects.get(codename="add_registration"))
        inviter = User.objects.get(pk=inviter.pk)
        invitations.invite(inviter, EMAIL, now=timezone.now())
        secret = mailed_secret(inbox)
        invitations.invite(inviter, "bob@example.org", now=timezone.now())
        match end:
            case "deactivated":
                permissions.deactivate(inviter, actor=staff)
            case "no staff":
                User.objects.filter(pk=inviter.pk).update(is_staff=False)
            case "no right":
                inviter.user_permissions.clear()
            case "deleted":
                deletion.close_account(inviter, now=timezone.now())
        with pytest.raises(tokens.InvalidToken):
            self.accept(secret)
        assert client.get(f"/join/{secret}", follow=True).status_code == 410
        # An invitation that was not mailed yet is not mailed any more.
        inbox.deliver()
        assert inbox.to("bob@example.org") == []

    @pytest.mark.parametrize(
        ("mode", "can_accept", "can_complete"),
        [("open", True, True), ("invitation", True, False), ("closed", False, False)],
    )
    def test_the_registration_mode_is_checked_when_the_link_is_used(
        self, inbox, staff, settings, client, anonymous_api, mode, can_accept, can_complete
    ):
        invitations.invite(staff, EMAIL, now=timezone.now())
        settings.REGISTRATION_MODE = "open"
        register("bob", "bob@example.org")
        invitation = mailed_secret(inbox)
        registration = secret_of(inbox.to("bob@example.org")[0])
        settings.REGISTRATION_MODE = mode
        form = {"username": "ada", "password": PASSWORD}
        if not can_accept:
            response = anonymous_api.post("/api/v1/auth/join", {**form, "token": invitation})
            assert response.status_code == 403
        client.get(f"/join/{invitation}")
        assert client.post("/join", form).status_code == (302 if can_accept else 403)
        client.get(f"/verify-email/{registration}")
        assert client.post("/verify-email", {"password": PASSWORD}).status_code == (
            302 if can_complete else 403
        )
        assert User.objects.filter(username="ada").exists() == can_accept
        assert User.objects.filter(username="bob").exists() == can_complete


def test_a_cancelled_invitation_is_rejected(staff, inbox, db):
    invitation = invitations.invite(staff, EMAIL, now=timezone.now())
    secret = mailed_secret(inbox)
    pending.cancel_registration(invitation)
    with pytest.raises(tokens.InvalidToken):
        pending.get_open_registration(secret, now=timezone.now())
