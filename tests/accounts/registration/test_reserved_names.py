"""Usernames of deleted accounts are reserved."""

import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.models import Registration, User
from accounts.registration import invitations
from accounts.registration import services as registrations
from accounts.users import deletion
from tests.admin import form_data
from tests.conftest import Api, signed_in
from tests.factories import PASSWORD, UserFactory
from tests.mail import Inbox, secret_of

NAMES = ["deleted.x", "Deleted.x", "DELETED.0"]
MESSAGE = "must not begin with"


@pytest.fixture(autouse=True)
def _open(settings: Any) -> None:
    settings.REGISTRATION_MODE, settings.ALLOW_UNVERIFIED_LOGIN = "open", False


def assert_rejected(responses: list[HttpResponse], status: int) -> None:
    for response in responses:
        assert response.status_code == status
        assert MESSAGE in response.content.decode()
    assert not User.objects.filter(username__istartswith="deleted.").exists()


@pytest.mark.parametrize("name", NAMES)
class TestRejected:
    def test_a_reserved_name_is_rejected_by_the_api(
        self, name: str, owner_api: Api, staff: User, inbox: Inbox
    ) -> None:
        body = {"username": name, "email": "ada@example.org", "password": PASSWORD}
        responses = [owner_api.post("/api/v1/auth/register", body)]
        responses.append(owner_api.patch("/api/v1/users/me", {"username": name}))
        invitations.invite(staff, "ada@example.org", now=timezone.now())
        registrations.register("bob", "bob@example.org", PASSWORD, now=timezone.now())
        inbox.deliver()
        invited, registered = (
            {"token": secret_of(inbox.to(f"{name_of_user}@example.org")[0]), "username": name}
            for name_of_user in ("ada", "bob")
        )
        responses.append(owner_api.post("/api/v1/auth/join", {**invited, "password": PASSWORD}))
        responses.append(
            owner_api.post("/api/v1/auth/verify-email", {**registered, "password": PASSWORD})
        )
        assert_rejected(responses, 422)

    def test_a_reserved_name_is_rejected_by_the_pages(
        self, name: str, owner: User, client: Client
    ) -> None:
        form = {"username": name, "email": "ada@example.org", "password": PASSWORD}
        responses = [client.post("/sign-up", form)]
        form = {"username": name, "time_zone": "UTC"}
        responses.append(signed_in(owner).post("/account", form))
        assert_rejected(responses, 422)

    def test_a_reserved_name_is_rejected_by_the_admin(
        self, name: str, owner: User, staff_client: Client
    ) -> None:
        body = {"username": name, "email": "ada@example.org", "usable_password": "false"}
        responses = [staff_client.post("/admin/accounts/user/add/", body)]
        path = f"/admin/accounts/user/{owner.pk}/change/"
        responses.append(staff_client.post(path, form_data(staff_client, path, username=name)))
        assert_rejected(responses, 200)

    def test_a_reserved_name_is_rejected_for_a_new_superuser(self, name: str, db: None) -> None:
        with pytest.raises(ValidationError, match="must not begin with"):
            User.objects.create_superuser(name, "ada@example.org", PASSWORD)


@pytest.mark.parametrize("name", ["deleted", "undeleted.x", "deleted-x"])
def test_a_name_without_the_reserved_prefix_is_accepted(db: None, name: str) -> None:
    registrations.register(name, "ada@example.org", PASSWORD, now=timezone.now())
    assert Registration.objects.get().username == name


def test_an_account_is_deleted_though_its_reserved_name_is_taken(owner: User) -> None:
    for taken in (owner.pk.hex, str(owner.pk)):
        UserFactory.create(username=f"deleted.{taken}", email=f"{taken}@example.org")
    form = {"password": PASSWORD}
    assert signed_in(owner).post("/account/delete", form).status_code == 302
    owner.refresh_from_db()
    assert owner.deleted_at is not None
    assert re.fullmatch(r"deleted\.[0-9a-f]{32}", owner.username)


def test_an_account_is_deleted_though_its_reserved_email_is_taken(owner: User) -> None:
    UserFactory.create(username="eve", email=f"{owner.pk.hex}@deleted.invalid")
    deletion.close_account(owner, now=timezone.now())
    owner.refresh_from_db()
    assert owner.deleted_at is not None
