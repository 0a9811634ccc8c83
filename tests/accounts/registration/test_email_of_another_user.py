"""A registration with the e-mail of another user does not give access to the account."""

import pytest
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.email import verification
from accounts.models import Registration, User
from accounts.registration import invitations
from accounts.registration import services as registrations
from accounts.throttling import RateLimitExceeded
from accounts.tokens import services as tokens
from tests.accounts.registration.steps import EMAIL, mailed_secret, register, verify
from tests.factories import PASSWORD, UserFactory


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False


class TestRegistrationOfTheEmailOfAnotherUser:
    """A stranger registers the owner's e-mail with their own password; the owner reads its mail."""

    def test_the_link_creates_no_account_without_the_registered_password(self, inbox):
        register("stranger", password="a password of a stranger")
        secret = mailed_secret(inbox)
        for password in ("", "a password of my own"):
            with pytest.raises(ValidationError) as caught:
                verify(secret, password)
            assert set(caught.value.error_dict) == {"password"}
        assert not User.objects.exists()

    def test_a_new_registration_by_the_owner_invalidates_earlier_links(self, inbox):
        register("ada", password="a password of a stranger")
        stranger_secret = mailed_secret(inbox)
        registrations.resend_links(EMAIL)
        stranger_second_secret = mailed_secret(inbox)
        register("ada", "ADA@example.org")
        owner_secret = mailed_secret(inbox, "ADA@example.org")
        for secret in (stranger_secret, stranger_second_secret):
            with pytest.raises(tokens.InvalidToken):
                verify(secret, "a password of a stranger")
        verify(owner_secret)
        assert authenticate(username="ada", password=PASSWORD)

    def test_a_registration_does_not_replace_an_invitation(self, inbox, staff, settings):
        settings.REGISTRATION_MODE = "open"
        invitation = invitations.invite(staff, EMAIL, now=timezone.now())
        register()
        assert Registration.objects.filter(pk=invitation.pk).exists()

    def test_wrong_passwords_of_a_registration_are_limited(self, inbox, settings):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password": (2, 900)}
        register()
        secret = mailed_secret(inbox)
        for _ in range(2):
            with pytest.raises(ValidationError):
                verify(secret, "wrong")
        with pytest.raises(RateLimitExceeded):
            verify(secret)

    def test_an_email_change_is_not_completed_with_a_wrong_password(self, inbox, stranger):
        verification.request_email_change(stranger, EMAIL)
        secret = mailed_secret(inbox)
        with pytest.raises(ValidationError):
            verify(secret, "a password of my own")
        # With a session the user needs no password: only a user who reads the mail has the link.
        assert (
            registrations.verify_email_or_complete(secret, actor=stranger, now=timezone.now())
            == stranger
        )

    def test_a_user_without_a_password_verifies_the_email_without_one(self, inbox):
        user = UserFactory.create(username="mailed", email_verified_at=None)
        user.set_unusable_password()
        user.save()
        registrations.resend_links(user.email)
        assert verify(mailed_secret(inbox, user.email), "") == user
