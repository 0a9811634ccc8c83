"""Login with MFA: the code page and the API login."""

from datetime import datetime, timedelta
from typing import Any

import pyotp
import pytest
from django.test import Client
from django.utils import timezone

from accounts.mfa import services as mfa
from accounts.models import AuditEvent, Session, Token, User
from accounts.passwords import services as passwords
from accounts.tokens import services as tokens
from tests.accounts.mfa.pages import CODE, LOGIN, SIGN_IN, current_code, is_signed_in
from tests.conftest import Api
from tests.factories import PASSWORD, enable_mfa


def test_signing_out_is_recorded_once(owner: User, owner_client: Client) -> None:
    owner_client.post("/sign-out")
    assert not is_signed_in(owner_client)
    assert AuditEvent.objects.get().action == "sign_in.ended"
    assert AuditEvent.objects.get().actor_id == owner.pk
    # No user is signed in any more: nothing is recorded.
    owner_client.post("/sign-out")
    assert AuditEvent.objects.count() == 1


@pytest.fixture
def password_entered_client(client: Client, totp: pyotp.TOTP) -> Client:
    """A client that has sent the owner's password but not the code."""
    form = {"username": "owner", "password": PASSWORD, "next": "/devices/new"}
    assert client.post(SIGN_IN, form).headers["Location"] == CODE
    return client


def test_the_password_alone_does_not_sign_in(password_entered_client: Client, owner: User) -> None:
    assert password_entered_client.get("/").headers["Location"] == "/sign-in?next=/"
    assert password_entered_client.get("/api/v1/devices").status_code == 401
    assert not Session.objects.filter(user=owner).exists()


def test_the_right_code_signs_in_and_redirects_to_next(
    password_entered_client: Client, totp: pyotp.TOTP
) -> None:
    key = password_entered_client.session.session_key
    assert b"6-digit code" in password_entered_client.get(CODE).content
    response = password_entered_client.post(CODE, {"code": current_code(totp)})
    assert response.headers["Location"] == "/devices/new"
    assert is_signed_in(password_entered_client)
    assert password_entered_client.session.session_key != key
    assert "pending_sign_in" not in password_entered_client.session


def test_a_wrong_code_is_rejected(password_entered_client: Client) -> None:
    response = password_entered_client.post(CODE, {"code": "000000"})
    assert response.status_code == 422
    assert "This code is wrong" in response.content.decode()
    assert not is_signed_in(password_entered_client)


def test_a_right_code_after_five_wrong_codes_is_rejected_with_a_message(
    password_entered_client: Client, totp: pyotp.TOTP
) -> None:
    for _ in range(5):
        password_entered_client.post(CODE, {"code": "000000"})
    response = password_entered_client.post(CODE, {"code": current_code(totp)})
    assert "Too many wrong codes. Wait 15 minutes" in response.content.decode()
    assert not is_signed_in(password_entered_client)


def test_a_code_over_the_daily_limit_is_rejected_with_a_message(
    password_entered_client: Client, settings: Any
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "second-factor-day": (1, 86400)}
    password_entered_client.post(CODE, {"code": "000000"})
    response = password_entered_client.post(CODE, {"code": "000000"})
    assert "Wait until tomorrow, or use a recovery code" in response.content.decode()


def test_a_code_that_another_client_has_used_is_rejected(
    password_entered_client: Client, totp: pyotp.TOTP, owner: User
) -> None:
    code = current_code(totp)
    mfa.verify_code(owner, code, now=timezone.now())
    assert password_entered_client.post(CODE, {"code": code}).status_code == 422
    assert not is_signed_in(password_entered_client)


def test_a_recovery_code_signs_in(password_entered_client: Client, owner: User) -> None:
    code = mfa.new_recovery_codes(owner)[0]
    assert (
        b"Enter one of your recovery codes"
        in password_entered_client.get(f"{CODE}?recovery").content
    )
    assert password_entered_client.post(f"{CODE}?recovery", {"code": code}).status_code == 302
    assert is_signed_in(password_entered_client)


def test_the_code_page_without_a_password_redirects_to_sign_in(
    client: Client, totp: pyotp.TOTP
) -> None:
    assert client.get(CODE).headers["Location"] == SIGN_IN
    assert client.post(CODE, {"code": current_code(totp)}).headers["Location"] == SIGN_IN
    assert not is_signed_in(client)


def test_the_entered_password_expires_after_ten_minutes(
    password_entered_client: Client, totp: pyotp.TOTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = password_entered_client.session
    until = datetime.fromisoformat(session["pending_sign_in"]["until"])
    assert timedelta(minutes=9) < until - timezone.now() <= timedelta(minutes=10)
    session["pending_sign_in"] = {**session["pending_sign_in"], "until": str(timezone.now())}
    session.save()
    assert (
        password_entered_client.post(CODE, {"code": current_code(totp)}).headers["Location"]
        == SIGN_IN
    )
    assert not is_signed_in(password_entered_client)


@pytest.mark.parametrize("end", ["password", "deactivated"])
def test_a_new_password_or_deactivation_ends_a_pending_login(
    password_entered_client: Client, totp: pyotp.TOTP, owner: User, end: str
) -> None:
    if end == "password":
        passwords.set_password(owner, "a quite long sentence")
    else:
        User.objects.update(is_active=False)
    assert (
        password_entered_client.post(CODE, {"code": current_code(totp)}).headers["Location"]
        == SIGN_IN
    )
    assert not is_signed_in(password_entered_client)


def test_a_one_time_link_replaces_the_password_but_not_the_code(
    client: Client, owner: User, totp: pyotp.TOTP
) -> None:
    secret = tokens.issue(owner, scope=Token.Scope.SIGN_IN, now=timezone.now())[1]
    client.get(f"/sign-in/link/{secret.text}")
    assert client.post("/sign-in/link").headers["Location"] == CODE
    assert not is_signed_in(client)
    client.post(CODE, {"code": current_code(totp)})
    assert is_signed_in(client)


@pytest.mark.parametrize("way", ["get", "post"])
def test_the_admin_login_redirects_to_the_sign_in_page(
    client: Client, staff: User, way: str
) -> None:
    body = {"username": "staff", "password": PASSWORD, "next": "/admin/"}
    response = getattr(client, way)("/admin/login/?next=/admin/", body if way == "post" else None)
    assert response.headers["Location"] == "/sign-in?next=/admin/"
    assert client.get("/admin/").status_code == 302


def test_staff_with_mfa_open_the_admin_after_the_code(client: Client, staff: User) -> None:
    totp = enable_mfa(staff, now=timezone.now() - timedelta(minutes=2))
    client.post(SIGN_IN, {"username": "staff", "password": PASSWORD, "next": "/admin/"})
    assert client.get("/admin/").status_code == 302
    assert client.post(CODE, {"code": current_code(totp)}).headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_user_who_is_not_staff_gets_403_from_the_admin_and_no_redirect_loop(
    owner_client: Client,
) -> None:
    assert owner_client.get("/admin/", follow=True).status_code == 403


def test_the_password_page_of_the_admin_redirects_to_that_of_the_account(
    staff_client: Client,
) -> None:
    response = staff_client.get("/admin/password_change/")
    assert response.headers["Location"] == "/account/password"


class TestApiLogin:
    body = {"username": "owner", "password": PASSWORD}

    def rejection_type(self, api: Api, **given: str) -> str:
        response = api.post(LOGIN, {**self.body, **given})
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
        assert not Token.objects.exists()
        return str(response.json()["type"]).removeprefix("urn:telemetry:problem:")

    def test_a_missing_or_wrong_code_is_second_factor_required(
        self, anonymous_api: Api, totp: pyotp.TOTP
    ) -> None:
        assert self.rejection_type(anonymous_api) == "second-factor-required"
        assert self.rejection_type(anonymous_api, code="000000") == "second-factor-required"

    def test_a_wrong_password_does_not_reveal_that_a_code_is_required(
        self, anonymous_api: Api, totp: pyotp.TOTP
    ) -> None:
        assert self.rejection_type(anonymous_api, password="wrong", code="000000") == "about:blank"

    def test_the_right_code_returns_a_token(self, anonymous_api: Api, totp: pyotp.TOTP) -> None:
        response = anonymous_api.post(LOGIN, {**self.body, "code": current_code(totp)})
        assert response.status_code == 200
        assert Api(response.json()["token"]).get("/api/v1/devices").status_code == 200

    def test_the_right_code_after_five_wrong_codes_is_429(
        self, anonymous_api: Api, totp: pyotp.TOTP
    ) -> None:
        for _ in range(5):
            assert self.rejection_type(anonymous_api, code="000000") == "second-factor-required"
        response = anonymous_api.post(LOGIN, {**self.body, "code": current_code(totp)})
        assert response.status_code == 429
        assert 0 < int(response["Retry-After"]) <= 900
        assert response.json()["type"] == "urn:telemetry:problem:limit:second-factor"
        assert response["Content-Type"] == "application/problem+json"

    def test_a_code_is_accepted_once(self, anonymous_api: Api, totp: pyotp.TOTP) -> None:
        body = {**self.body, "code": current_code(totp)}
        assert anonymous_api.post(LOGIN, body).status_code == 200
        assert anonymous_api.post(LOGIN, body).status_code == 401

    def test_a_recovery_code_is_accepted_once(
        self, anonymous_api: Api, owner: User, totp: pyotp.TOTP
    ) -> None:
        body = {**self.body, "code": mfa.new_recovery_codes(owner)[0]}
        assert anonymous_api.post(LOGIN, body).status_code == 200
        assert anonymous_api.post(LOGIN, body).status_code == 401
