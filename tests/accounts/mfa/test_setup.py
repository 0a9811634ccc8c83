"""Pages to set up and to disable MFA, and MFA required for staff."""

import re
from datetime import timedelta

import pyotp
import pytest
from django.test import Client
from django.utils import timezone

from accounts.mfa import services as mfa
from accounts.models import User
from tests.accounts.mfa.pages import CODE, LOGIN, SET_UP, SIGN_IN, current_code, is_signed_in
from tests.conftest import Api, signed_in
from tests.factories import PASSWORD, enable_mfa, user_token


class TestSetUp:
    def seed(self, client: Client, user: User) -> pyotp.TOTP:
        page = client.get(SET_UP).content.decode()
        totp = mfa.build_totp(bytes.fromhex(client.session["second_factor_seed"]), user)
        assert f">{totp.secret}<" in page
        assert 'src="data:image/svg+xml' in page
        return totp

    def test_the_first_code_enables_mfa_and_shows_ten_recovery_codes(
        self, owner: User, owner_client: Client
    ) -> None:
        elsewhere = signed_in(owner)
        totp = self.seed(owner_client, owner)
        response = owner_client.post(SET_UP, {"code": current_code(totp), "password": PASSWORD})
        codes = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", response.content.decode())
        assert len(codes) == 10
        assert mfa.is_enabled(owner)
        assert is_signed_in(owner_client)
        assert not is_signed_in(elsewhere)
        assert "second_factor_seed" not in owner_client.session
        assert codes[0] not in owner_client.get("/account/second-factor").content.decode()
        mfa.verify_code(owner, codes[0], now=timezone.now())

    def test_the_key_is_the_same_when_the_page_is_loaded_again(
        self, owner: User, owner_client: Client
    ) -> None:
        assert self.seed(owner_client, owner).secret == self.seed(owner_client, owner).secret

    @pytest.mark.parametrize(
        "change", [{"code": "000000"}, {"password": "wrong"}, {"code": ""}, {"password": ""}]
    )
    def test_mfa_stays_disabled_without_the_right_password_and_code(
        self, owner: User, owner_client: Client, change: dict[str, str]
    ) -> None:
        form = {"code": current_code(self.seed(owner_client, owner)), "password": PASSWORD}
        assert owner_client.post(SET_UP, {**form, **change}).status_code == 422
        assert not mfa.is_enabled(owner)

    def test_a_user_without_a_password_needs_only_the_code(self, owner: User) -> None:
        owner.set_unusable_password()
        owner.save()
        browser = signed_in(owner)
        assert b"6-digit code" in browser.get(SET_UP).content
        totp = self.seed(browser, owner)
        assert browser.post(SET_UP, {"code": current_code(totp)}).status_code == 200
        response = browser.post("/account/second-factor/switch-off", {"code": "000000"})
        assert response.status_code == 422
        assert is_signed_in(browser)
        code_later = totp.at(timezone.now() + timedelta(seconds=30))
        browser.post("/account/second-factor/switch-off", {"code": code_later})
        assert not mfa.is_enabled(owner)

    def test_the_setup_page_redirects_when_mfa_is_enabled(
        self, owner: User, totp: pyotp.TOTP
    ) -> None:
        assert signed_in(owner).get(SET_UP).headers["Location"] == "/account/second-factor"

    @pytest.mark.parametrize(
        "change", [{"password": "wrong"}, {"password": ""}, {"code": "000000"}, {"code": ""}]
    )
    @pytest.mark.parametrize("what", ["switch-off", "recovery-codes"])
    def test_mfa_is_not_disabled_without_the_right_password_and_code(
        self, owner: User, totp: pyotp.TOTP, change: dict[str, str], what: str
    ) -> None:
        form = {"password": PASSWORD, "code": current_code(totp), **change}
        response = signed_in(owner).post(f"/account/second-factor/{what}", form)
        assert response.status_code == 422
        assert mfa.is_enabled(owner)

    def test_mfa_is_disabled_with_the_password_and_a_code(
        self, owner: User, totp: pyotp.TOTP
    ) -> None:
        path, browser = "/account/second-factor/switch-off", signed_in(owner)
        assert b"Turn off two-factor authentication?" in browser.get(path).content
        form = {"password": PASSWORD, "code": current_code(totp)}
        assert browser.post(path, form).status_code == 302
        assert not mfa.is_enabled(owner)
        assert browser.get(path).headers["Location"] == "/account/second-factor"

    def test_new_recovery_codes_replace_the_old_ones(self, owner: User, totp: pyotp.TOTP) -> None:
        path = "/account/second-factor/recovery-codes"
        old = mfa.new_recovery_codes(owner)
        form = {"password": PASSWORD, "code": current_code(totp)}
        page = signed_in(owner).post(path, form).content.decode()
        assert len(re.findall(r"(?:[a-z2-7]{4}-){3}[a-z2-7]{4}", page)) == 10
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(owner, old[0], now=timezone.now())

    def test_a_user_without_mfa_gets_no_recovery_codes(self, owner_client: Client) -> None:
        path = "/account/second-factor/recovery-codes"
        assert owner_client.post(path, {"password": PASSWORD}).status_code == 302

    @pytest.mark.parametrize("part", ["", "/set-up", "/recovery-codes", "/switch-off"])
    def test_an_anonymous_client_is_redirected_to_sign_in(
        self, client: Client, db: None, part: str
    ) -> None:
        response = client.get(f"/account/second-factor{part}")
        assert response.headers["Location"].startswith("/sign-in?next=")


class TestRequiredForStaff:
    @pytest.fixture(autouse=True)
    def _required(self, settings: pytest.FixtureRequest) -> None:
        settings.REQUIRE_STAFF_MFA = True  # type: ignore[attr-defined]

    @pytest.mark.parametrize("path", ["/", "/admin/", "/tokens", "/account/password", "/nope"])
    def test_staff_without_mfa_are_redirected_to_the_setup(
        self, staff_client: Client, path: str
    ) -> None:
        assert staff_client.get(path).headers["Location"] == "/account/second-factor"
        assert staff_client.post(path).headers["Location"] == "/account/second-factor"

    def test_staff_without_mfa_get_403_from_the_api_and_the_api_login(
        self, staff_client: Client, staff: User, anonymous_api: Api
    ) -> None:
        assert staff_client.get("/api/v1/devices").status_code == 403
        response = anonymous_api.post(LOGIN, {"username": "staff", "password": PASSWORD})
        assert response.status_code == 403
        assert "Set up two-factor authentication" in response.json()["detail"]

    def test_staff_without_mfa_can_set_it_up_and_sign_out(
        self, staff_client: Client, staff: User
    ) -> None:
        page = staff_client.get("/account/second-factor").content.decode()
        assert "Staff must use two-factor authentication on this site." in page
        staff_client.get(SET_UP)
        seed = bytes.fromhex(staff_client.session["second_factor_seed"])
        code = current_code(mfa.build_totp(seed, staff))
        staff_client.post(SET_UP, {"code": code, "password": PASSWORD})
        assert staff_client.get("/admin/").status_code == 200
        assert staff_client.get("/api/v1/devices").status_code == 200
        assert staff_client.post("/sign-out").status_code == 302

    def test_staff_with_mfa_open_the_admin(self, client: Client, staff: User) -> None:
        totp = enable_mfa(staff, now=timezone.now() - timedelta(minutes=2))
        client.post(SIGN_IN, {"username": "staff", "password": PASSWORD})
        client.post(CODE, {"code": current_code(totp)})
        assert client.get("/admin/").status_code == 200

    def test_a_session_from_before_mfa_was_enabled_is_rejected(
        self, staff_client: Client, staff: User
    ) -> None:
        enable_mfa(staff, now=timezone.now())
        response = staff_client.get("/admin/", follow=True)
        assert response.redirect_chain[-1][0] == f"{SIGN_IN}?next=/admin/"
        assert staff_client.get("/api/v1/devices").status_code == 401

    def test_a_token_of_staff_without_mfa_is_rejected(self, staff: User) -> None:
        before = Api(user_token(staff))
        response = before.get("/api/v1/devices")
        assert response.status_code == 403
        assert "Set up two-factor authentication" in response.json()["detail"]
        enable_mfa(staff, now=timezone.now())
        assert before.get("/api/v1/devices").status_code == 401
        assert Api(user_token(staff)).get("/api/v1/devices").status_code == 200
        mfa.disable(staff)
        assert Api(user_token(staff)).get("/api/v1/devices").status_code == 403

    def test_users_who_are_not_staff_need_no_mfa(
        self, owner_client: Client, owner_api: Api, anonymous_api: Api
    ) -> None:
        assert is_signed_in(owner_client)
        assert owner_api.get("/api/v1/devices").status_code == 200
        body = {"username": "owner", "password": PASSWORD}
        assert anonymous_api.post(LOGIN, body).status_code == 200
