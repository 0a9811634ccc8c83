"""Nobody takes the name that a closed account will have."""

import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.models import Registration, User
from accounts.registration import services as registrations
from accounts.users import deletion
from tests.admin import filled_in
from tests.conftest import Api, signed_in
from tests.factories import PASSWORD, UserFactory
from tests.mail import Inbox, secret_of

NAMES = ["deleted.x", "Deleted.x", "DELETED.0"]
REFUSED = "must not begin with"


@pytest.fixture(autouse=True)
def _open(settings: Any) -> None:
    settings.REGISTRATION_MODE, settings.ALLOW_UNVERIFIED_LOGIN = "open", False


def assert_refused(answers: list[HttpResponse], status: int) -> None:
    for answer in answers:
        assert answer.status_code == status
        assert REFUSED in answer.content.decode()
    assert not User.objects.filter(username__istartswith="deleted.").exists()


@pytest.mark.parametrize("name", NAMES)
class TestRefused:
    def test_by_the_api(self, name: str, owner_api: Api, staff: User, inbox: Inbox) -> None:
        body = {"username": name, "email": "ada@example.org", "password": PASSWORD}
        answers = [owner_api.post("/api/v1/auth/register", body)]
        answers.append(owner_api.patch("/api/v1/users/me", {"username": name}))
        registrations.invite(staff, "ada@example.org", now=timezone.now())
        registrations.register("bob", "bob@example.org", PASSWORD, now=timezone.now())
        inbox.deliver()
        invited, registered = (
            {"token": secret_of(inbox.to(f"{who}@example.org")[0]), "username": name}
            for who in ("ada", "bob")
        )
        answers.append(owner_api.post("/api/v1/auth/join", {**invited, "password": PASSWORD}))
        answers.append(
            owner_api.post("/api/v1/auth/verify-email", {**registered, "password": PASSWORD})
        )
        assert_refused(answers, 422)

    def test_by_the_pages(self, name: str, owner: User, client: Client) -> None:
        form = {"username": name, "email": "ada@example.org", "password": PASSWORD}
        answers = [client.post("/sign-up", form)]
        form = {"username": name, "time_zone": "UTC"}
        answers.append(signed_in(owner).post("/account", form))
        assert_refused(answers, 422)

    def test_by_the_admin(self, name: str, owner: User, staff_client: Client) -> None:
        body = {"username": name, "email": "ada@example.org", "usable_password": "false"}
        answers = [staff_client.post("/admin/accounts/user/add/", body)]
        path = f"/admin/accounts/user/{owner.pk}/change/"
        answers.append(staff_client.post(path, filled_in(staff_client, path, username=name)))
        assert_refused(answers, 200)

    def test_by_the_command_line(self, name: str, db: None) -> None:
        with pytest.raises(ValidationError, match="must not begin with"):
            User.objects.create_superuser(name, "ada@example.org", PASSWORD)


@pytest.mark.parametrize("name", ["deleted", "undeleted.x", "deleted-x"])
def test_names_that_only_look_like_it_are_free(db: None, name: str) -> None:
    registrations.register(name, "ada@example.org", PASSWORD, now=timezone.now())
    assert Registration.objects.get().username == name


def test_a_name_that_was_taken_before_it_was_refused_blocks_no_closing(owner: User) -> None:
    for taken in (owner.pk.hex, str(owner.pk)):
        UserFactory.create(username=f"deleted.{taken}", email=f"{taken}@example.org")
    form = {"password": PASSWORD}
    assert signed_in(owner).post("/account/delete", form).status_code == 302
    owner.refresh_from_db()
    assert owner.deleted_at is not None
    assert re.fullmatch(r"deleted\.[0-9a-f]{32}", owner.username)


def test_an_address_like_that_of_a_closed_account_blocks_no_closing(owner: User) -> None:
    UserFactory.create(username="eve", email=f"{owner.pk.hex}@deleted.invalid")
    deletion.close_account(owner, now=timezone.now())
    owner.refresh_from_db()
    assert owner.deleted_at is not None
