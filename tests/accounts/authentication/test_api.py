from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.models import Token
from tests.conftest import Api
from tests.factories import PASSWORD, UserFactory, device_token, user_token

LOGIN = "/api/v1/auth/login"
LOGOUT = "/api/v1/auth/logout"


def test_a_login_returns_a_token_that_the_api_accepts(owner, anonymous_api):
    response = anonymous_api.post(
        LOGIN, {"username": "owner", "password": PASSWORD, "label": "cron"}
    )
    assert response.status_code == 200
    assert set(response.json()) == {"token", "expires_at"}
    assert Api(response.json()["token"]).get("/api/v1/devices").status_code == 200
    assert Token.objects.get().label == "cron"


def test_the_token_of_a_login_expires_after_ninety_days(owner, anonymous_api):
    before = datetime.now(UTC)
    response = anonymous_api.post(LOGIN, {"username": "owner", "password": PASSWORD}).json()
    lifetime = datetime.fromisoformat(response["expires_at"]) - before
    assert timedelta(days=90) <= lifetime < timedelta(days=90, minutes=1)


def test_a_login_accepts_the_email_and_any_case(owner, anonymous_api):
    for name in ({"email": owner.email.upper()}, {"username": "OWNER"}, {"username": owner.email}):
        assert anonymous_api.post(LOGIN, {**name, "password": PASSWORD}).status_code == 200


def test_a_login_sets_last_login(owner, anonymous_api):
    anonymous_api.post(LOGIN, {"username": "owner", "password": PASSWORD})
    owner.refresh_from_db()
    assert owner.last_login is not None


def test_a_wrong_password_and_an_unknown_username_get_the_same_response(owner, anonymous_api):
    UserFactory.create(username="gone", is_active=False)

    def rejection(**given):
        response = anonymous_api.post(LOGIN, given)
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
        return {**response.json(), "request_id": None}

    wrong_password = rejection(username="owner", password="wrong")
    assert rejection(username="unknown", password="wrong") == wrong_password
    assert rejection(email="unknown@example.org", password="wrong") == wrong_password
    assert rejection(username="gone", password=PASSWORD) == wrong_password
    assert not Token.objects.exists()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"username": "owner", "password": PASSWORD, "admin": True}, "/admin"),
        ({"username": "owner"}, "/password"),
        ({"password": PASSWORD}, ""),
        ({"username": "owner", "email": "o@example.org", "password": PASSWORD}, ""),
        ({"username": "owner", "password": ""}, "/password"),
        ({"username": "owner", "password": None}, "/password"),
        ({"username": {"a": 1}, "password": PASSWORD}, "/username"),
        ({"username": "owner", "password": "x" * 1025}, "/password"),
        ({"username": "x" * 255, "password": PASSWORD}, "/username"),
        ({"username": "own\0er", "password": PASSWORD}, "/username"),
        ({"username": "owner", "password": PASSWORD, "label": "x" * 101}, "/label"),
        ([], ""),
        ("owner", ""),
        (None, "/password"),
    ],
)
def test_an_invalid_login_body_is_422_with_a_pointer(owner, anonymous_api, body, pointer):
    response = anonymous_api.post(LOGIN, body)
    assert response.status_code == 422
    assert pointer in [fault["pointer"] for fault in response.json()["errors"]]
    assert not Token.objects.exists()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=owner&password=x"),
        ("multipart/form-data; boundary=b", b"--b--"),
        ("text/plain", b"{}"),
        ("application/json; charset=utf-16", b"{}"),
        ("application/json; charset=latin-1", b"{}"),
    ],
)
def test_a_login_with_another_content_type_is_415(owner, anonymous_api, content_type, body):
    response = anonymous_api.post(LOGIN, body, content_type=content_type)
    assert response.status_code == 415
    assert response["Content-Type"] == "application/problem+json"


def test_a_logout_revokes_only_the_token_of_the_request(owner):
    ended, other = Api(user_token(owner)), Api(user_token(owner))
    assert ended.post(LOGOUT).status_code == 204
    assert ended.get("/api/v1/devices").status_code == 401
    assert ended.post(LOGOUT).status_code == 401
    assert other.get("/api/v1/devices").status_code == 200


def test_a_logout_with_a_device_token_is_403(device):
    api = Api(device_token(device))
    assert api.post(LOGOUT).status_code == 403
    assert api.get("/api/v1/device").status_code == 200


@pytest.mark.parametrize("scope", [scope for scope in Token.Scope if scope != Token.Scope.AUTH])
def test_a_token_from_an_email_is_rejected_by_the_api(owner, scope):
    from accounts.tokens import services as tokens

    secret = tokens.issue(owner, scope=scope, now=datetime.now(UTC))[1]
    assert Api(secret.text).get("/api/v1/devices").status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer tsu_",
        "Bearer tsu_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg000000",
        "Bearer tsd_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg2M5kfw",
        "Basic b3duZXI6cGFzc3dvcmQ=",
        "Token x",
        "Bearer tsu_\xe9\xff",
    ],
)
def test_an_invalid_authorization_header_is_401_with_www_authenticate(db, client, header):
    response = client.get("/api/v1/devices", headers={"Authorization": header})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_the_bearer_scheme_is_accepted_in_any_case(owner, client):
    headers = {"Authorization": f"bEARER  {user_token(owner)}"}
    assert client.get("/api/v1/devices", headers=headers).status_code == 200


def test_an_expired_token_is_rejected(owner):
    token = user_token(owner, now=datetime.now(UTC) - timedelta(days=90))
    assert Api(token).get("/api/v1/devices").status_code == 401


def test_a_request_sets_last_used_at_of_its_token(owner):
    Api(user_token(owner)).get("/api/v1/devices")
    assert Token.objects.get().last_used_at is not None


def test_a_session_can_read_but_needs_a_csrf_token_to_write(owner):
    from django.test import Client

    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    assert browser.get("/api/v1/devices").status_code == 200
    response = browser.post("/api/v1/devices", {"name": "x"}, content_type="application/json")
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"
    assert not owner.devices.exists()


def test_an_api_logout_with_a_session_ends_the_session(owner_client: Client) -> None:
    owner_client.post("/api/v1/auth/logout")
    assert owner_client.get("/api/v1/devices").status_code == 401
