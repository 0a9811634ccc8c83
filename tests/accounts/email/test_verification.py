"""E-mail verification: the first user who verifies an e-mail address gets it."""

import pytest
from django.utils import timezone

from accounts.email import verification
from accounts.models import AuditEvent, User
from accounts.tokens import services as tokens
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def secret_for(user: User) -> str:
    to = user.pending_email or user.email
    now = timezone.now()
    return tokens.issue(user, scope=verification.VERIFICATION, now=now, sent_to=to)[1].text


@pytest.fixture
def claimant() -> User:
    """A user with this e-mail address who has not verified it."""
    return UserFactory.create(email="Ada@example.org", email_verified_at=None)


@pytest.fixture
def changing_user(owner: User) -> User:
    """A user who changes to the same e-mail address and can read its mail."""
    User.objects.filter(pk=owner.pk).update(pending_email="ada@example.org")
    owner.refresh_from_db()
    return owner


def test_an_unverified_email_is_released_when_another_user_verifies_it(
    claimant: User, changing_user: User
) -> None:
    claimant_secret = secret_for(claimant)
    verification.verify_email(secret_for(changing_user), now=timezone.now())
    changing_user.refresh_from_db()
    claimant.refresh_from_db()
    assert (changing_user.email, changing_user.pending_email) == ("ada@example.org", "")
    assert claimant.email.endswith("@released.invalid")
    assert AuditEvent.objects.filter(action="address.released", target_id=claimant.pk).exists()
    with pytest.raises(tokens.InvalidToken):
        verification.verify_email(claimant_secret, now=timezone.now())


def test_a_verified_email_is_not_given_to_another_user(claimant: User, changing_user: User) -> None:
    secret = secret_for(changing_user)
    User.objects.filter(pk=claimant.pk).update(email_verified_at=timezone.now())
    with pytest.raises(tokens.InvalidToken):
        verification.verify_email(secret, now=timezone.now())
    changing_user.refresh_from_db()
    assert changing_user.pending_email == "ada@example.org"
    assert User.objects.get(pk=claimant.pk).email == "Ada@example.org"
