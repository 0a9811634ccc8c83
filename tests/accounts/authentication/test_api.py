from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.models import Token
from tests.conftest import Api
from tests.factories import PASSWORD, UserFactory, device_token, user_token

LOGIN = "/api/v1/auth/login"
LOGOUT = "/api/v1/auth/logout"


def test_a_login_answers_a_token_that_opens_the_api(owner, anonymous_api):
    answer = anonymous_api.post(LOGIN, {"username": "owner", "password": PASSWORD, "label": "cron"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "expires_at"}
    assert Api(answer.json()["token"]).get("/api/v1/devices").status_code == 200
    assert Token.objects.get().label == "cron"


def test_the_token_of_a_login_lives_ninety_days(owner, anonymous_api):
    before = datetime.now(UTC)
    answer = anonymous_api.post(LOGIN, {"username": "owner", "password": PASSWORD}).json()
    life = datetime.fromisoformat(answer["expires_at"]) - before
    assert timedelta(days=90) <= life < timedelta(days=90, minutes=1)


def test_a_login_works_with_the_address_and_in_any_case(owner, anonymous_api):
    for name in ({"email": owner.email.upper()}, {"username": "OWNER"}, {"username": owner.email}):
        assert anonymous_api.post(LOGIN, {**name, "password": PASSWORD}).status_code == 200


def test_a_login_is_remembered(owner, anonymous_api):
    anonymous_api.post(LOGIN, {"username": "owner", "password": PASSWORD})
    owner.refresh_from_db()
    assert owner.last_login is not None


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(owner, anonymous_api):
    UserFactory.create(username="gone", is_active=False)

    def refusal(**given):
        answer = anonymous_api.post(LOGIN, given)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        return {**answer.json(), "request_id": None}

    wrong_password = refusal(username="owner", password="wrong")
    assert refusal(username="nobody", password="wrong") == wrong_password
    assert refusal(email="nobody@example.org", password="wrong") == wrong_password
    assert refusal(username="gone", password=PASSWORD) == wrong_password
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
def test_a_login_that_cannot_be_one_is_422_and_says_why(owner, anonymous_api, body, pointer):
    answer = anonymous_api.post(LOGIN, body)
    assert answer.status_code == 422
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]
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
def test_a_login_in_another_form_is_415(owner, anonymous_api, content_type, body):
    answer = anonymous_api.post(LOGIN, body, content_type=content_type)
    assert answer.status_code == 415
    assert answer["Content-Type"] == "application/problem+json"


def test_a_logout_ends_the_token_it_was_made_with_and_no_other(owner):
    leaving, staying = Api(user_token(owner)), Api(user_token(owner))
    assert leaving.post(LOGOUT).status_code == 204
    assert leaving.get("/api/v1/devices").status_code == 401
    assert leaving.post(LOGOUT).status_code == 401
    assert staying.get("/api/v1/devices").status_code == 200


def test_a_device_cannot_log_out(device):
    api = Api(device_token(device))
    assert api.post(LOGOUT).status_code == 403
    assert api.get("/api/v1/device").status_code == 200


@pytest.mark.parametrize("scope", [scope for scope in Token.Scope if scope != Token.Scope.AUTH])
def test_a_mailed_secret_never_opens_the_api(owner, scope):
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
def test_a_bad_authorization_is_401_and_says_what_is_wanted(db, client, header):
    answer = client.get("/api/v1/devices", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_the_word_bearer_may_be_written_in_any_case(owner, client):
    headers = {"Authorization": f"bEARER  {user_token(owner)}"}
    assert client.get("/api/v1/devices", headers=headers).status_code == 200


def test_an_expired_token_is_refused(owner):
    token = user_token(owner, now=datetime.now(UTC) - timedelta(days=90))
    assert Api(token).get("/api/v1/devices").status_code == 401


def test_the_use_of_a_token_is_noted(owner):
    Api(user_token(owner)).get("/api/v1/devices")
    assert Token.objects.get().last_used_at is not None


def test_a_signed_in_browser_may_read_but_needs_a_csrf_token_to_write(owner):
    from django.test import Client

    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    assert browser.get("/api/v1/devices").status_code == 200
    answer = browser.post("/api/v1/devices", {"name": "x"}, content_type="application/json")
    assert answer.status_code == 403
    assert answer["Content-Type"] == "application/problem+json"
    assert not owner.devices.exists()


def test_logging_out_with_a_session_ends_the_session(owner_client: Client) -> None:
    owner_client.post("/api/v1/auth/logout")
    assert owner_client.get("/api/v1/devices").status_code == 401
