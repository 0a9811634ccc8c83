"""Responses do not reveal known e-mails; other spellings are not the same name."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.passwords import services as passwords
from accounts.registration import services as registrations
from tests.conftest import Api
from tests.factories import (
    PASSWORD,
    UserFactory,
)
from tests.mail import Inbox

NEW = "a quite long sentence"
ME = "/api/v1/users/me"


class TestSpellings:
    """Names that only the database folds to the same name are not the same name."""

    def test_another_spelling_of_a_username_gives_no_more_attempts(
        self, owner: User, anonymous_api: Api, settings: Any
    ) -> None:
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in": (3, 900)}
        UserFactory.create(username="alice", email="alice@example.org")

        def status(name: str, password: str) -> int:
            body = {"username": name, "password": password}
            return anonymous_api.post("/api/v1/auth/login", body).status_code

        for name in ("alice", "alice@example.org"):
            assert [status(name, "wrong") for _ in range(4)] == [401, 401, 401, 429]
            for other in ("al\u0131ce", "AL\u0130CE", "\uff41lice", "Alice", "aLICe"):
                assert status(name.replace("alice", other), PASSWORD) in (401, 429)

    def test_another_spelling_of_an_email_gets_no_mail(
        self, inbox: Inbox, anonymous_api: Api, settings: Any
    ) -> None:
        settings.REGISTRATION_MODE = "open"
        UserFactory.create(username="mia", email="mia@example.org")
        UserFactory.create(username="kim", email="kim@example.org", email_verified_at=None)
        for address in ("m\u0131a@example.org", "k\u0131m@example.org"):
            passwords.request_reset(address)
            registrations.resend_links(address)
        inbox.deliver()
        assert inbox.mails == []


class TestRegistrationRevealsNoEmail:
    @pytest.fixture(autouse=True)
    def _unverified_login_allowed(self, settings: Any, owner: User) -> None:
        settings.ALLOW_UNVERIFIED_LOGIN, settings.REGISTRATION_MODE = True, "open"

    def responses(self, api: Api, client: Client, name: str, email: str) -> list[Any]:
        """Return every response that a client sees who registers with this e-mail."""
        body = {"username": name, "email": email, "password": NEW}
        register, login = "/api/v1/auth/register", "/api/v1/auth/login"
        seen: list[Any] = [api.post(register, body).status_code for _ in range(2)]
        seen.append(client.post("/sign-up", body).status_code)
        seen.append(api.post(login, {"email": email, "password": NEW}).status_code)
        response = api.post(login, {"username": name, "password": NEW})
        api_of_new_user = Api(response.json()["token"])
        seen.append(api_of_new_user.post("/api/v1/auth/address/resend").status_code)
        profile = api_of_new_user.get(ME).json()
        shown = {key: str(profile[key]).replace(email, "…") for key in profile if key != "id"}
        return [*seen, {**shown, "username": "", "created_at": ""}]

    @pytest.mark.parametrize("verified", [True, False])
    def test_the_responses_do_not_reveal_whether_an_email_is_known(
        self, anonymous_api: Api, client: Client, owner: User, verified: bool
    ) -> None:
        if not verified:
            User.objects.update(email_verified_at=None)
        known = self.responses(anonymous_api, client, "eve", "owner@example.org")
        unknown = self.responses(anonymous_api, client, "mallory", "unknown@example.org")
        assert known == unknown
        assert known[:4] == [202, 422, 422, 401]
