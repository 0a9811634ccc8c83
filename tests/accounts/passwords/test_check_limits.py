"""Right passwords cost as much as wrong ones, and are counted, too."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import throttling
from accounts.models import AuditEvent, Throttle, Token, User
from accounts.passwords import hashers
from accounts.passwords import services as passwords
from tests.conftest import Api, signed_in
from tests.factories import PASSWORD, UserFactory, second_factor_of, user_token
from tests.hashers import CheapHasher
from tests.mail import Inbox, secret_of

LOGIN = "/api/v1/auth/login"
RIGHT = {"username": "owner", "password": PASSWORD}
WRONG = {**RIGHT, "password": "wrong"}


@pytest.fixture(autouse=True)
def _three_an_hour(settings: Any, owner: User) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password-check": (3, 3600)}


def log_in(body: dict[str, str] = RIGHT, *, network: str = "192.0.2.1") -> int:
    """Sign in from another network each time; return the status."""
    return Client().post(LOGIN, body, "application/json", REMOTE_ADDR=network).status_code


def test_nobody_has_right_passwords_hashed_without_end() -> None:
    answers = [log_in(network=f"192.0.2.{number}") for number in range(5)]
    assert answers == [200] * 3 + [429] * 2


def test_a_refused_password_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    real = CheapHasher.verify
    monkeypatch.setattr(CheapHasher, "verify", lambda *args: hashes.append(1) or real(*args))
    for _ in range(5):
        log_in()
    assert len(hashes) == 3


def test_wrong_passwords_of_strangers_use_up_nothing_of_the_owner() -> None:
    for number in range(10):
        assert log_in(WRONG, network=f"192.0.2.{number}") == 401
    assert [log_in(network="198.51.100.1") for _ in range(4)] == [200] * 3 + [429]


def test_a_password_that_could_not_be_hashed_uses_up_nothing_of_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, hashers.hashing_slot():
        patch.setattr(hashers, "SLOT_TIMEOUT_SECONDS", 0.01)
        for number in range(5):
            assert log_in(network=f"192.0.2.{number}") == 503
    assert log_in() == 200


def test_passwords_for_any_name_are_counted_by_the_network(settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password-check-address": (4, 3600)}
    names = [UserFactory.create(username=f"user{number}").username for number in range(3)]
    bodies = [{"username": name, "password": PASSWORD} for name in [*names, "nobody", "owner"]]
    assert [log_in(body) for body in bodies] == [200, 200, 200, 401, 429]
    assert log_in(network="198.51.100.1") == 200


@pytest.mark.parametrize("way", ["change-address", "change-password", "page"])
def test_telling_the_password_again_is_counted_when_it_is_right(owner: User, way: str) -> None:
    api, browser = Api(user_token(owner)), signed_in(owner)

    def ask() -> int:
        if way == "change-address":
            body = {"email": owner.email, "password": PASSWORD}
            return api.patch("/api/v1/users/me", body).status_code
        if way == "change-password":
            body = {"current": PASSWORD, "new": "short"}
            return api.post("/api/v1/auth/password", body).status_code
        form = {"old_password": PASSWORD, "new_password1": "a", "new_password2": "b"}
        return browser.post("/account/password", form).status_code

    assert [ask() for _ in range(4)] == [422] * 3 + [429]


def test_staff_let_a_user_sign_in_again(owner: User) -> None:
    for _ in range(4):
        log_in()
    assert throttling.is_locked_out(owner, now=timezone.now())
    throttling.clear_lockout(owner)
    assert not throttling.is_locked_out(owner, now=timezone.now())
    assert log_in() == 200


def test_whoever_has_reset_the_password_signs_in_though_a_thief_has_used_up_the_tries(
    owner: User, inbox: Inbox
) -> None:
    for _ in range(4):
        log_in()
    passwords.request_reset(owner.email)
    inbox.deliver()
    new = "a quite long sentence"
    passwords.reset_with_token(secret_of(inbox.to(owner.email)[0]), new, now=timezone.now())
    assert log_in({**RIGHT, "password": new}) == 200


class TestWhenASignInHasSucceeded:
    def tries(self) -> int:
        """How many failed sign-ins in the name of the owner are counted."""
        counters = throttling.login_limits("owner", "192.0.2.1")
        return sum(Throttle.objects.filter(key=counters[-1].key).values_list("tries", flat=True))

    def test_one_that_gets_no_token_is_no_success(self, owner: User, settings: Any) -> None:
        settings.TOKENS_PER_USER = 0
        assert log_in() == 409
        assert self.tries() == 1
        assert not AuditEvent.objects.filter(action="sign_in.succeeded").exists()
        owner.refresh_from_db()
        assert owner.last_login is None

    def test_one_that_gets_a_token_gives_its_try_back(self) -> None:
        assert log_in() == 200
        assert self.tries() == 0
        assert Token.objects.count() == 1

    def test_a_right_password_without_the_code_is_no_success(self, owner: User) -> None:
        second_factor_of(owner, now=timezone.now())
        assert log_in() == 401
        assert self.tries() == 1

    def test_a_page_gives_the_try_back_after_the_code(self, owner: User) -> None:
        codes = second_factor_of(owner, now=timezone.now() - timedelta(minutes=2))
        browser = Client(REMOTE_ADDR="192.0.2.1")
        browser.post("/sign-in", RIGHT)
        assert self.tries() == 1
        browser.post("/sign-in/code", {"code": codes.at(timezone.now())})
        assert self.tries() == 0
