"""A password reset by mail disables MFA only if MFA was enabled with an unverified e-mail."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.email import verification
from accounts.mfa import services as mfa
from accounts.models import SecondFactor, User
from accounts.passwords import services as passwords
from accounts.registration import services as registrations
from tests.admin import form_data
from tests.conftest import Api, signed_in
from tests.factories import UserFactory, enable_mfa
from tests.mail import Inbox, secret_of

NEW = "a quite long sentence"
EVIL = "operator@evil.example"


@pytest.fixture
def operator_client(db: None) -> Client:
    """Staff with the permission to change users, without being superuser."""
    operator = UserFactory.create(username="operator", is_staff=True)
    allowed = Permission.objects.filter(codename__in=["change_user", "view_user"])
    operator.user_permissions.set(allowed)
    return signed_in(operator)


def enable(user: User) -> None:
    user.refresh_from_db()
    enable_mfa(user, now=timezone.now() - timedelta(minutes=5))
    user.refresh_from_db()


def reset(email: str, inbox: Inbox) -> None:
    passwords.request_reset(email)
    inbox.deliver()
    passwords.reset_with_token(secret_of(inbox.to(email)[-1]), NEW, now=timezone.now())


def change(client: Client, user: User, **changes: Any) -> None:
    path = f"/admin/accounts/user/{user.pk}/change/"
    assert client.post(path, form_data(client, path, **changes)).status_code == 302


def test_mfa_stays_enabled_after_staff_change_the_email_and_reset_the_password(
    operator_client: Client, owner: User, inbox: Inbox, anonymous_api: Api
) -> None:
    enable(owner)
    change(operator_client, owner, email=EVIL)
    reset(EVIL, inbox)
    assert mfa.is_enabled(owner)
    body = {"username": "owner", "password": NEW}
    assert anonymous_api.post("/api/v1/auth/login", body).status_code == 401


def test_mfa_stays_enabled_after_staff_change_an_unverified_email(
    operator_client: Client, owner: User, inbox: Inbox
) -> None:
    User.objects.filter(pk=owner.pk).update(email_verified_at=None)
    enable(owner)
    change(operator_client, owner, email=EVIL)
    reset(EVIL, inbox)
    assert mfa.is_enabled(owner)


def test_mfa_stays_enabled_after_staff_mark_the_email_as_unverified(
    operator_client: Client, owner: User, inbox: Inbox
) -> None:
    enable(owner)
    change(operator_client, owner, email_verified_at_0="", email_verified_at_1="")
    owner.refresh_from_db()
    assert owner.email_verified_at is None
    reset(owner.email, inbox)
    assert mfa.is_enabled(owner)


def test_a_password_reset_disables_mfa_of_an_unverified_email(inbox: Inbox) -> None:
    squatter = UserFactory.create(username="squatter", email_verified_at=None)
    enable(squatter)
    assert SecondFactor.objects.get().of_claimed_address
    reset(squatter.email, inbox)
    assert not mfa.is_enabled(squatter)


@pytest.mark.parametrize("address", ["ada@example.org", "ada@elsewhere.example"])
def test_mfa_stays_enabled_when_the_email_was_verified_later(inbox: Inbox, address: str) -> None:
    user = UserFactory.create(username="ada", email="ada@example.org", email_verified_at=None)
    enable(user)
    if address == user.email:
        registrations.resend_links(address)
    else:
        verification.request_email_change(user, address)
    inbox.deliver()
    registrations.verify_email_or_complete(
        secret_of(inbox.to(address)[0]), actor=user, now=timezone.now()
    )
    assert not SecondFactor.objects.get().of_claimed_address
    reset(address, inbox)
    assert mfa.is_enabled(user)


def test_mfa_enabled_with_a_verified_email_is_not_marked_as_unverified(
    owner: User,
) -> None:
    enable(owner)
    assert not SecondFactor.objects.get().of_claimed_address
