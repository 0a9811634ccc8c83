"""An address is whoever's who opens what was sent to it."""

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
    """Somebody who says that the address is theirs, and has not shown it."""
    return UserFactory.create(email="Ada@example.org", email_verified_at=None)


@pytest.fixture
def moving(owner: User) -> User:
    """Somebody who wants the same address, and can read what is sent to it."""
    User.objects.filter(pk=owner.pk).update(pending_email="ada@example.org")
    owner.refresh_from_db()
    return owner


def test_whoever_has_only_claimed_an_address_gives_way_to_whoever_proves_it(
    claimant: User, moving: User
) -> None:
    theirs = secret_for(claimant)
    verification.verify_email(secret_for(moving), now=timezone.now())
    moving.refresh_from_db()
    claimant.refresh_from_db()
    assert (moving.email, moving.pending_email) == ("ada@example.org", "")
    assert claimant.email.endswith("@released.invalid")
    assert AuditEvent.objects.filter(action="address.released", target_id=claimant.pk).exists()
    with pytest.raises(tokens.InvalidToken):
        verification.verify_email(theirs, now=timezone.now())


def test_whoever_has_proven_an_address_keeps_it(claimant: User, moving: User) -> None:
    secret = secret_for(moving)
    User.objects.filter(pk=claimant.pk).update(email_verified_at=timezone.now())
    with pytest.raises(tokens.InvalidToken):
        verification.verify_email(secret, now=timezone.now())
    moving.refresh_from_db()
    assert moving.pending_email == "ada@example.org"
    assert User.objects.get(pk=claimant.pk).email == "Ada@example.org"
