"""Which second factors a password reset by mail switches off: those of claimed addresses only."""

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
from tests.admin import filled_in
from tests.conftest import Api, signed_in
from tests.factories import UserFactory, second_factor_of
from tests.mail import Inbox, secret_of

NEW = "a quite long sentence"
EVIL = "operator@evil.example"


@pytest.fixture
def operator_client(db: None) -> Client:
    """Staff with the right to change users, and no superuser."""
    operator = UserFactory.create(username="operator", is_staff=True)
    may = Permission.objects.filter(codename__in=["change_user", "view_user"])
    operator.user_permissions.set(may)
    return signed_in(operator)


def switch_on(user: User) -> None:
    user.refresh_from_db()
    second_factor_of(user, now=timezone.now() - timedelta(minutes=5))
    user.refresh_from_db()


def reset(email: str, inbox: Inbox) -> None:
    passwords.request_reset(email)
    inbox.deliver()
    passwords.reset_with_token(secret_of(inbox.to(email)[-1]), NEW, now=timezone.now())


def change(client: Client, user: User, **changes: Any) -> None:
    path = f"/admin/accounts/user/{user.pk}/change/"
    assert client.post(path, filled_in(client, path, **changes)).status_code == 302


def test_staff_who_move_the_address_do_not_get_past_the_second_factor(
    operator_client: Client, owner: User, inbox: Inbox, anonymous_api: Api
) -> None:
    switch_on(owner)
    change(operator_client, owner, email=EVIL)
    reset(EVIL, inbox)
    assert mfa.is_enabled(owner)
    body = {"username": "owner", "password": NEW}
    assert anonymous_api.post("/api/v1/auth/login", body).status_code == 401


def test_nor_do_they_where_the_address_was_only_claimed(
    operator_client: Client, owner: User, inbox: Inbox
) -> None:
    User.objects.filter(pk=owner.pk).update(email_verified_at=None)
    switch_on(owner)
    change(operator_client, owner, email=EVIL)
    reset(EVIL, inbox)
    assert mfa.is_enabled(owner)


def test_nor_do_staff_who_take_the_proof_of_an_address_away(
    operator_client: Client, owner: User, inbox: Inbox
) -> None:
    switch_on(owner)
    change(operator_client, owner, email_verified_at_0="", email_verified_at_1="")
    owner.refresh_from_db()
    assert owner.email_verified_at is None
    reset(owner.email, inbox)
    assert mfa.is_enabled(owner)


def test_who_only_claimed_an_address_does_not_lock_its_owner_out(inbox: Inbox) -> None:
    squatter = UserFactory.create(username="squatter", email_verified_at=None)
    switch_on(squatter)
    assert SecondFactor.objects.get().of_claimed_address
    reset(squatter.email, inbox)
    assert not mfa.is_enabled(squatter)


@pytest.mark.parametrize("address", ["ada@example.org", "ada@elsewhere.example"])
def test_who_proves_an_address_later_keeps_the_second_factor(inbox: Inbox, address: str) -> None:
    user = UserFactory.create(username="ada", email="ada@example.org", email_verified_at=None)
    switch_on(user)
    if address == user.email:
        registrations.resend_links(address)
    else:
        verification.request_email_change(user, address)
    inbox.deliver()
    registrations.verify_email_or_complete(
        secret_of(inbox.to(address)[0]), by=user, now=timezone.now()
    )
    assert not SecondFactor.objects.get().of_claimed_address
    reset(address, inbox)
    assert mfa.is_enabled(user)


def test_a_second_factor_that_is_switched_on_after_the_proof_is_not_of_a_claimed_address(
    owner: User,
) -> None:
    switch_on(owner)
    assert not SecondFactor.objects.get().of_claimed_address
