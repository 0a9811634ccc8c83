"""Limits of password checks: right passwords count too, because hashing costs the same."""

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
from tests.factories import PASSWORD, UserFactory, enable_mfa, user_token
from tests.hashers import CheapHasher
from tests.mail import Inbox, secret_of

LOGIN = "/api/v1/auth/login"
RIGHT = {"username": "owner", "password": PASSWORD}
WRONG = {**RIGHT, "password": "wrong"}


@pytest.fixture(autouse=True)
def _three_an_hour(settings: Any, owner: User) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password-check": (3, 3600)}


def log_in(body: dict[str, str] = RIGHT, *, network: str = "192.0.2.1") -> int:
    """Sign in from this network and return the status."""
    return Client().post(LOGIN, body, "application/json", REMOTE_ADDR=network).status_code


def test_right_passwords_over_the_limit_are_429() -> None:
    responses = [log_in(network=f"192.0.2.{number}") for number in range(5)]
    assert responses == [200] * 3 + [429] * 2


def test_a_password_over_the_limit_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    real = CheapHasher.verify
    monkeypatch.setattr(CheapHasher, "verify", lambda *args: hashes.append(1) or real(*args))
    for _ in range(5):
        log_in()
    assert len(hashes) == 3


def test_wrong_passwords_of_other_clients_do_not_count_for_the_owner() -> None:
    for number in range(10):
        assert log_in(WRONG, network=f"192.0.2.{number}") == 401
    assert [log_in(network="198.51.100.1") for _ in range(4)] == [200] * 3 + [429]


def test_a_password_that_could_not_be_hashed_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, hashers.hashing_slot():
        patch.setattr(hashers, "SLOT_TIMEOUT_SECONDS", 0.01)
        for number in range(5):
            assert log_in(network=f"192.0.2.{number}") == 503
    assert log_in() == 200


def test_passwords_for_all_usernames_are_counted_by_network(settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password-check-address": (4, 3600)}
    names = [UserFactory.create(username=f"user{number}").username for number in range(3)]
    bodies = [{"username": name, "password": PASSWORD} for name in [*names, "unknown", "owner"]]
    assert [log_in(body) for body in bodies] == [200, 200, 200, 401, 429]
    assert log_in(network="198.51.100.1") == 200


@pytest.mark.parametrize("endpoint", ["change-address", "change-password", "page"])
def test_right_passwords_of_a_signed_in_user_are_limited(owner: User, endpoint: str) -> None:
    api, browser = Api(user_token(owner)), signed_in(owner)

    def check_password() -> int:
        if endpoint == "change-address":
            body = {"email": owner.email, "password": PASSWORD}
            return api.patch("/api/v1/users/me", body).status_code
        if endpoint == "change-password":
            body = {"current": PASSWORD, "new": "short"}
            return api.post("/api/v1/auth/password", body).status_code
        form = {"old_password": PASSWORD, "new_password1": "a", "new_password2": "b"}
        return browser.post("/account/password", form).status_code

    assert [check_password() for _ in range(4)] == [422] * 3 + [429]


def test_clearing_the_lockout_lets_the_user_sign_in(owner: User) -> None:
    for _ in range(4):
        log_in()
    assert throttling.is_locked_out(owner, now=timezone.now())
    throttling.clear_lockout(owner)
    assert not throttling.is_locked_out(owner, now=timezone.now())
    assert log_in() == 200


def test_a_password_reset_clears_the_lockout(owner: User, inbox: Inbox) -> None:
    for _ in range(4):
        log_in()
    passwords.request_reset(owner.email)
    inbox.deliver()
    new = "a quite long sentence"
    passwords.reset_with_token(secret_of(inbox.to(owner.email)[0]), new, now=timezone.now())
    assert log_in({**RIGHT, "password": new}) == 200


class TestLoginCounter:
    def tries(self) -> int:
        """Return how many failed logins are counted for the owner."""
        counters = throttling.login_limits("owner", "192.0.2.1")
        return sum(Throttle.objects.filter(key=counters[-1].key).values_list("tries", flat=True))

    def test_a_login_that_gets_no_token_counts_as_failed(self, owner: User, settings: Any) -> None:
        settings.TOKENS_PER_USER = 0
        assert log_in() == 409
        assert self.tries() == 1
        assert not AuditEvent.objects.filter(action="sign_in.succeeded").exists()
        owner.refresh_from_db()
        assert owner.last_login is None

    def test_a_login_that_gets_a_token_is_not_counted(self) -> None:
        assert log_in() == 200
        assert self.tries() == 0
        assert Token.objects.count() == 1

    def test_a_right_password_without_the_code_counts_as_failed(self, owner: User) -> None:
        enable_mfa(owner, now=timezone.now())
        assert log_in() == 401
        assert self.tries() == 1

    def test_a_login_on_the_page_is_not_counted_after_the_code(self, owner: User) -> None:
        codes = enable_mfa(owner, now=timezone.now() - timedelta(minutes=2))
        browser = Client(REMOTE_ADDR="192.0.2.1")
        browser.post("/sign-in", RIGHT)
        assert self.tries() == 1
        browser.post("/sign-in/code", {"code": codes.at(timezone.now())})
        assert self.tries() == 0
