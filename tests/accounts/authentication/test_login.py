"""Between the right password and being signed in: the pages of the second factor."""

import re
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
from tests.conftest import Api, signed_in
from tests.factories import PASSWORD, second_factor_of, user_token

SIGN_IN = "/sign-in"
CODE = "/sign-in/code"
SET_UP = "/account/second-factor/set-up"
LOGIN = "/api/v1/auth/login"


def is_signed_in(browser: Client) -> bool:
    return browser.get("/tokens").status_code == 200


def code_of(twin: pyotp.TOTP) -> str:
    return twin.at(timezone.now())


def test_signing_out_is_in_the_trail(owner: User, owner_client: Client) -> None:
    owner_client.post("/sign-out")
    assert not is_signed_in(owner_client)
    assert AuditEvent.objects.get().action == "sign_in.ended"
    assert AuditEvent.objects.get().actor_id == owner.pk
    # Nobody is signed in who could.
    owner_client.post("/sign-out")
    assert AuditEvent.objects.count() == 1


@pytest.fixture
def twin(owner: User) -> pyotp.TOTP:
    return second_factor_of(owner, now=timezone.now() - timedelta(minutes=2))


@pytest.fixture
def half_way(client: Client, twin: pyotp.TOTP) -> Client:
    """A browser in which the owner's password was typed."""
    form = {"username": "owner", "password": PASSWORD, "next": "/devices/new"}
    assert client.post(SIGN_IN, form).headers["Location"] == CODE
    return client


def test_the_password_alone_signs_nobody_in(half_way: Client, owner: User) -> None:
    assert half_way.get("/").headers["Location"] == "/sign-in?next=/"
    assert half_way.get("/api/v1/devices").status_code == 401
    assert not Session.objects.filter(user=owner).exists()


def test_the_code_signs_in_and_leads_on(half_way: Client, twin: pyotp.TOTP) -> None:
    key = half_way.session.session_key
    assert b"six digits" in half_way.get(CODE).content
    answer = half_way.post(CODE, {"code": code_of(twin)})
    assert answer.headers["Location"] == "/devices/new"
    assert is_signed_in(half_way)
    assert half_way.session.session_key != key
    assert "pending_sign_in" not in half_way.session


def test_a_wrong_code_does_not(half_way: Client) -> None:
    answer = half_way.post(CODE, {"code": "000000"})
    assert answer.status_code == 422
    assert "This code is wrong" in answer.content.decode()
    assert not is_signed_in(half_way)


def test_too_many_wrong_ones_are_told(half_way: Client, twin: pyotp.TOTP) -> None:
    for _ in range(5):
        half_way.post(CODE, {"code": "000000"})
    answer = half_way.post(CODE, {"code": code_of(twin)})
    assert "Too many wrong codes. Wait a quarter of an hour" in answer.content.decode()
    assert not is_signed_in(half_way)


def test_too_many_wrong_ones_of_a_day_are_told(half_way: Client, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "second-factor-day": (1, 86400)}
    half_way.post(CODE, {"code": "000000"})
    answer = half_way.post(CODE, {"code": "000000"})
    assert "Wait until tomorrow, or use a recovery code" in answer.content.decode()


def test_one_that_was_used_in_another_browser_does_not(
    half_way: Client, twin: pyotp.TOTP, owner: User
) -> None:
    code = code_of(twin)
    mfa.verify_code(owner, code, now=timezone.now())
    assert half_way.post(CODE, {"code": code}).status_code == 422
    assert not is_signed_in(half_way)


def test_a_recovery_code_does(half_way: Client, owner: User) -> None:
    code = mfa.new_recovery_codes(owner)[0]
    assert b"recovery codes that you kept" in half_way.get(f"{CODE}?recovery").content
    assert half_way.post(f"{CODE}?recovery", {"code": code}).status_code == 302
    assert is_signed_in(half_way)


def test_there_is_no_code_to_ask_for_without_a_password(client: Client, twin: pyotp.TOTP) -> None:
    assert client.get(CODE).headers["Location"] == SIGN_IN
    assert client.post(CODE, {"code": code_of(twin)}).headers["Location"] == SIGN_IN
    assert not is_signed_in(client)


def test_the_password_is_forgotten_after_ten_minutes(
    half_way: Client, twin: pyotp.TOTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = half_way.session
    until = datetime.fromisoformat(session["pending_sign_in"]["until"])
    assert timedelta(minutes=9) < until - timezone.now() <= timedelta(minutes=10)
    session["pending_sign_in"] = {**session["pending_sign_in"], "until": str(timezone.now())}
    session.save()
    assert half_way.post(CODE, {"code": code_of(twin)}).headers["Location"] == SIGN_IN
    assert not is_signed_in(half_way)


@pytest.mark.parametrize("end", ["password", "deactivated"])
def test_what_ends_a_session_ends_a_half_one(
    half_way: Client, twin: pyotp.TOTP, owner: User, end: str
) -> None:
    if end == "password":
        passwords.set_password(owner, "a quite long sentence")
    else:
        User.objects.update(is_active=False)
    assert half_way.post(CODE, {"code": code_of(twin)}).headers["Location"] == SIGN_IN
    assert not is_signed_in(half_way)


def test_a_one_time_link_stands_for_the_password_only(
    client: Client, owner: User, twin: pyotp.TOTP
) -> None:
    secret = tokens.issue(owner, scope=Token.Scope.SIGN_IN, now=timezone.now())[1]
    client.get(f"/sign-in/link/{secret.text}")
    assert client.post("/sign-in/link").headers["Location"] == CODE
    assert not is_signed_in(client)
    client.post(CODE, {"code": code_of(twin)})
    assert is_signed_in(client)


@pytest.mark.parametrize("way", ["get", "post"])
def test_the_admin_has_no_door_of_its_own(client: Client, staff: User, way: str) -> None:
    body = {"username": "staff", "password": PASSWORD, "next": "/admin/"}
    answer = getattr(client, way)("/admin/login/?next=/admin/", body if way == "post" else None)
    assert answer.headers["Location"] == "/sign-in?next=/admin/"
    assert client.get("/admin/").status_code == 302


def test_a_member_of_staff_comes_to_the_admin_with_a_code(client: Client, staff: User) -> None:
    twin = second_factor_of(staff, now=timezone.now() - timedelta(minutes=2))
    client.post(SIGN_IN, {"username": "staff", "password": PASSWORD, "next": "/admin/"})
    assert client.get("/admin/").status_code == 302
    assert client.post(CODE, {"code": code_of(twin)}).headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_who_is_no_staff_is_told_so_and_not_sent_in_circles(owner_client: Client) -> None:
    assert owner_client.get("/admin/", follow=True).status_code == 403


def test_the_password_is_changed_in_one_place(staff_client: Client) -> None:
    answer = staff_client.get("/admin/password_change/")
    assert answer.headers["Location"] == "/account/password"


class TestProgram:
    body = {"username": "owner", "password": PASSWORD}

    def refusal(self, api: Api, **given: str) -> str:
        answer = api.post(LOGIN, {**self.body, **given})
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        assert not Token.objects.exists()
        return str(answer.json()["type"]).removeprefix("urn:telemetry:problem:")

    def test_it_is_asked_for_a_code(self, anonymous_api: Api, twin: pyotp.TOTP) -> None:
        assert self.refusal(anonymous_api) == "second-factor-required"
        assert self.refusal(anonymous_api, code="000000") == "second-factor-required"

    def test_only_after_the_right_password(self, anonymous_api: Api, twin: pyotp.TOTP) -> None:
        assert self.refusal(anonymous_api, password="wrong", code="000000") == "about:blank"

    def test_with_the_code_it_gets_a_token(self, anonymous_api: Api, twin: pyotp.TOTP) -> None:
        answer = anonymous_api.post(LOGIN, {**self.body, "code": code_of(twin)})
        assert answer.status_code == 200
        assert Api(answer.json()["token"]).get("/api/v1/devices").status_code == 200

    def test_guessing_is_429(self, anonymous_api: Api, twin: pyotp.TOTP) -> None:
        for _ in range(5):
            assert self.refusal(anonymous_api, code="000000") == "second-factor-required"
        answer = anonymous_api.post(LOGIN, {**self.body, "code": code_of(twin)})
        assert answer.status_code == 429
        assert 0 < int(answer["Retry-After"]) <= 900
        assert answer.json()["type"] == "urn:telemetry:problem:limit:second-factor"
        assert answer["Content-Type"] == "application/problem+json"

    def test_once(self, anonymous_api: Api, twin: pyotp.TOTP) -> None:
        body = {**self.body, "code": code_of(twin)}
        assert anonymous_api.post(LOGIN, body).status_code == 200
        assert anonymous_api.post(LOGIN, body).status_code == 401

    def test_a_recovery_code_does_as_well(
        self, anonymous_api: Api, owner: User, twin: pyotp.TOTP
    ) -> None:
        body = {**self.body, "code": mfa.new_recovery_codes(owner)[0]}
        assert anonymous_api.post(LOGIN, body).status_code == 200
        assert anonymous_api.post(LOGIN, body).status_code == 401


class TestSetUp:
    def seed(self, client: Client, user: User) -> pyotp.TOTP:
        page = client.get(SET_UP).content.decode()
        twin = mfa.build_totp(bytes.fromhex(client.session["second_factor_seed"]), user)
        assert f">{twin.secret}<" in page
        assert 'src="data:image/svg+xml' in page
        return twin

    def test_the_first_code_switches_it_on(self, owner: User, owner_client: Client) -> None:
        elsewhere = signed_in(owner)
        twin = self.seed(owner_client, owner)
        answer = owner_client.post(SET_UP, {"code": code_of(twin), "password": PASSWORD})
        codes = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", answer.content.decode())
        assert len(codes) == 10
        assert mfa.is_enabled(owner)
        assert is_signed_in(owner_client)
        assert not is_signed_in(elsewhere)
        assert "second_factor_seed" not in owner_client.session
        assert codes[0] not in owner_client.get("/account/second-factor").content.decode()
        mfa.verify_code(owner, codes[0], now=timezone.now())

    def test_the_key_stays_while_it_is_being_typed(self, owner: User, owner_client: Client) -> None:
        assert self.seed(owner_client, owner).secret == self.seed(owner_client, owner).secret

    @pytest.mark.parametrize(
        "fault", [{"code": "000000"}, {"password": "wrong"}, {"code": ""}, {"password": ""}]
    )
    def test_it_stays_off_without_both(
        self, owner: User, owner_client: Client, fault: dict[str, str]
    ) -> None:
        form = {"code": code_of(self.seed(owner_client, owner)), "password": PASSWORD}
        assert owner_client.post(SET_UP, {**form, **fault}).status_code == 422
        assert not mfa.is_enabled(owner)

    def test_who_has_no_password_needs_none(self, owner: User) -> None:
        owner.set_unusable_password()
        owner.save()
        browser = signed_in(owner)
        assert b"The code that it shows" in browser.get(SET_UP).content
        twin = self.seed(browser, owner)
        assert browser.post(SET_UP, {"code": code_of(twin)}).status_code == 200
        answer = browser.post("/account/second-factor/switch-off", {"code": "000000"})
        assert answer.status_code == 422
        assert is_signed_in(browser)
        twin_later = twin.at(timezone.now() + timedelta(seconds=30))
        browser.post("/account/second-factor/switch-off", {"code": twin_later})
        assert not mfa.is_enabled(owner)

    def test_what_is_on_is_not_set_up_again(self, owner: User, twin: pyotp.TOTP) -> None:
        assert signed_in(owner).get(SET_UP).headers["Location"] == "/account/second-factor"

    @pytest.mark.parametrize(
        "fault", [{"password": "wrong"}, {"password": ""}, {"code": "000000"}, {"code": ""}]
    )
    @pytest.mark.parametrize("what", ["switch-off", "recovery-codes"])
    def test_it_is_not_switched_off_without_both_the_password_and_a_code(
        self, owner: User, twin: pyotp.TOTP, fault: dict[str, str], what: str
    ) -> None:
        form = {"password": PASSWORD, "code": code_of(twin), **fault}
        answer = signed_in(owner).post(f"/account/second-factor/{what}", form)
        assert answer.status_code == 422
        assert mfa.is_enabled(owner)

    def test_it_is_switched_off_with_the_password_and_a_code(
        self, owner: User, twin: pyotp.TOTP
    ) -> None:
        path, browser = "/account/second-factor/switch-off", signed_in(owner)
        assert b"Switch it off?" in browser.get(path).content
        form = {"password": PASSWORD, "code": code_of(twin)}
        assert browser.post(path, form).status_code == 302
        assert not mfa.is_enabled(owner)
        assert browser.get(path).headers["Location"] == "/account/second-factor"

    def test_new_recovery_codes_are_shown_once_for_the_password_and_a_code(
        self, owner: User, twin: pyotp.TOTP
    ) -> None:
        path = "/account/second-factor/recovery-codes"
        old = mfa.new_recovery_codes(owner)
        form = {"password": PASSWORD, "code": code_of(twin)}
        page = signed_in(owner).post(path, form).content.decode()
        assert len(re.findall(r"(?:[a-z2-7]{4}-){3}[a-z2-7]{4}", page)) == 10
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(owner, old[0], now=timezone.now())

    def test_who_has_none_gets_no_recovery_codes(self, owner_client: Client) -> None:
        path = "/account/second-factor/recovery-codes"
        assert owner_client.post(path, {"password": PASSWORD}).status_code == 302

    @pytest.mark.parametrize("part", ["", "/set-up", "/recovery-codes", "/switch-off"])
    def test_nobody_is_sent_to_sign_in(self, client: Client, db: None, part: str) -> None:
        answer = client.get(f"/account/second-factor{part}")
        assert answer.headers["Location"].startswith("/sign-in?next=")


class TestDemandedOfStaff:
    @pytest.fixture(autouse=True)
    def _demanded(self, settings: pytest.FixtureRequest) -> None:
        settings.REQUIRE_STAFF_MFA = True  # type: ignore[attr-defined]

    @pytest.mark.parametrize("path", ["/", "/admin/", "/tokens", "/account/password", "/nope"])
    def test_without_one_they_are_led_to_set_it_up(self, staff_client: Client, path: str) -> None:
        assert staff_client.get(path).headers["Location"] == "/account/second-factor"
        assert staff_client.post(path).headers["Location"] == "/account/second-factor"

    def test_the_api_is_closed_to_their_session_and_their_password(
        self, staff_client: Client, staff: User, anonymous_api: Api
    ) -> None:
        assert staff_client.get("/api/v1/devices").status_code == 403
        answer = anonymous_api.post(LOGIN, {"username": "staff", "password": PASSWORD})
        assert answer.status_code == 403
        assert "Set up your second factor" in answer.json()["detail"]

    def test_they_can_set_it_up_and_leave(self, staff_client: Client, staff: User) -> None:
        page = staff_client.get("/account/second-factor").content.decode()
        assert "Staff need a second factor here." in page
        staff_client.get(SET_UP)
        seed = bytes.fromhex(staff_client.session["second_factor_seed"])
        code = code_of(mfa.build_totp(seed, staff))
        staff_client.post(SET_UP, {"code": code, "password": PASSWORD})
        assert staff_client.get("/admin/").status_code == 200
        assert staff_client.get("/api/v1/devices").status_code == 200
        assert staff_client.post("/sign-out").status_code == 302

    def test_with_a_code_they_come_in(self, client: Client, staff: User) -> None:
        twin = second_factor_of(staff, now=timezone.now() - timedelta(minutes=2))
        client.post(SIGN_IN, {"username": "staff", "password": PASSWORD})
        client.post(CODE, {"code": code_of(twin)})
        assert client.get("/admin/").status_code == 200

    def test_a_session_from_before_it_was_set_up_is_not_enough(
        self, staff_client: Client, staff: User
    ) -> None:
        second_factor_of(staff, now=timezone.now())
        answer = staff_client.get("/admin/", follow=True)
        assert answer.redirect_chain[-1][0] == f"{SIGN_IN}?next=/admin/"
        assert staff_client.get("/api/v1/devices").status_code == 401

    def test_a_token_of_staff_opens_nothing_until_they_have_set_it_up(self, staff: User) -> None:
        before = Api(user_token(staff))
        answer = before.get("/api/v1/devices")
        assert answer.status_code == 403
        assert "Set up your second factor" in answer.json()["detail"]
        second_factor_of(staff, now=timezone.now())
        assert before.get("/api/v1/devices").status_code == 401
        assert Api(user_token(staff)).get("/api/v1/devices").status_code == 200
        mfa.disable(staff)
        assert Api(user_token(staff)).get("/api/v1/devices").status_code == 403

    def test_others_go_on_as_before(
        self, owner_client: Client, owner_api: Api, anonymous_api: Api
    ) -> None:
        assert is_signed_in(owner_client)
        assert owner_api.get("/api/v1/devices").status_code == 200
        body = {"username": "owner", "password": PASSWORD}
        assert anonymous_api.post(LOGIN, body).status_code == 200
