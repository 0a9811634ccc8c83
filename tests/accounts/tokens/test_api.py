from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Session, Token
from accounts.tokens import services as tokens
from tests.conftest import Api, signed_in
from tests.factories import PASSWORD, user_token, user_token_and_row

TOKENS = "/api/v1/tokens"
SESSIONS = "/api/v1/sessions"
DEVICES = "/api/v1/devices"


def read_only_api(user):
    """Return an API client with a read-only token."""
    now = datetime.now(UTC)
    access = Token.Access.READ
    return Api(tokens.issue(user, scope=Token.Scope.AUTH, now=now, access=access)[1].text)


def test_a_read_only_token_reads(owner, device):
    for path in (DEVICES, f"{DEVICES}/{device.pk}", TOKENS):
        assert read_only_api(owner).get(path).status_code == 200
    assert read_only_api(owner).send("HEAD", DEVICES).status_code == 200
    assert read_only_api(owner).send("OPTIONS", DEVICES).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/devices"),
        ("PATCH", "/devices/{device}"),
        ("DELETE", "/devices/{device}"),
        ("POST", "/devices/{device}/tokens"),
        ("POST", "/devices/{device}/tokens/rotate"),
        ("POST", "/devices/{device}/commands"),
        ("POST", "/devices/{device}/telemetry"),
        ("POST", "/devices/{device}/telemetry/import"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/{device}"),
        ("DELETE", "/sessions/{device}"),
        ("POST", "/auth/logout"),
        ("PUT", "/devices"),
    ],
)
def test_a_read_only_token_is_403_for_every_write(owner, device, method, path):
    response = read_only_api(owner).send(method, "/api/v1" + path.format(device=device.pk), {})
    assert response.status_code == 403
    assert response.json()["detail"] == "This token is read-only."
    assert owner.devices.get().deleted_at is None


def test_a_login_can_request_a_read_only_token(owner, anonymous_api):
    body = {"username": "owner", "password": PASSWORD, "access": "read"}
    secret = anonymous_api.post("/api/v1/auth/login", body).json()["token"]
    assert Api(secret).post(DEVICES, {"name": "x"}).status_code == 403
    body["access"] = "all"
    assert anonymous_api.post("/api/v1/auth/login", body).status_code == 422


def test_a_new_token_is_returned_once_and_is_accepted(owner, owner_api):
    before = datetime.now(UTC)
    response = owner_api.post(TOKENS, {"label": "cron", "access": "read", "expires_in": 3600})
    assert response.status_code == 201
    made = response.json()
    assert Api(made["token"]).get(DEVICES).status_code == 200
    assert Api(made["token"]).post(DEVICES, {"name": "x"}).status_code == 403
    lifetime = datetime.fromisoformat(made["expires_at"]) - before
    assert timedelta(hours=1) <= lifetime < timedelta(hours=1, minutes=1)
    (listed,) = [one for one in owner_api.get(TOKENS).json()["results"] if one["id"] == made["id"]]
    assert {**listed, "last_used_at": None} == {
        name: value for name, value in made.items() if name != "token"
    }
    assert (listed["label"], listed["access"], listed["scope"]) == ("cron", "read", "auth")
    assert listed["last_used_at"] is not None
    assert made["token"] not in owner_api.get(TOKENS).content.decode()


def test_a_token_has_full_access_for_ninety_days_by_default(owner_api):
    made = owner_api.post(TOKENS, {}).json()
    lifetime = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(
        made["created_at"]
    )
    assert made["access"] == "full"
    assert abs(lifetime - timedelta(days=90)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"expires_in": 59}, "/expires_in"),
        ({"expires_in": 5 * 365 * 86400 + 1}, "/expires_in"),
        ({"expires_in": None}, "/expires_in"),
        ({"expires_in": "soon"}, "/expires_in"),
        ({"access": "root"}, "/access"),
        ({"label": "x" * 101}, "/label"),
        ({"scope": "password_reset"}, "/scope"),
        ({"user": "x"}, "/user"),
    ],
)
def test_an_invalid_token_request_is_422_with_a_pointer(owner_api, body, pointer):
    response = owner_api.post(TOKENS, body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer
    assert Token.objects.count() == 1


def test_the_list_pages_through_the_users_own_api_tokens(owner, owner_api, stranger):
    user_token(stranger)
    tokens.issue(owner, scope=Token.Scope.PASSWORD_RESET, now=datetime.now(UTC))
    for _ in range(3):
        user_token(owner)
    first = owner_api.get(TOKENS, {"limit": "3"}).json()
    second = owner_api.get(TOKENS, {"limit": "3", "cursor": first["next"]}).json()
    found = [one["id"] for one in first["results"] + second["results"]]
    own = Token.objects.filter(user=owner, scope="auth")
    assert found == [str(token.pk) for token in own.order_by("-created_at", "-id")]
    assert second["next"] is None


def test_a_revoked_token_is_rejected_and_listed_as_revoked(owner, owner_api):
    token, secret = user_token_and_row(owner)
    assert owner_api.delete(f"{TOKENS}/{token.pk}").status_code == 204
    assert Api(secret).get(DEVICES).status_code == 401
    listed = {one["id"]: one["revoked"] for one in owner_api.get(TOKENS).json()["results"]}
    assert listed[str(token.pk)] is True


def test_the_token_of_another_user_is_404(owner_api, stranger, stranger_api):
    stranger_token = stranger.tokens.get()
    response = owner_api.delete(f"{TOKENS}/{stranger_token.pk}")
    assert response.status_code == 404
    assert stranger_api.get(DEVICES).status_code == 200


def test_a_device_token_is_403_for_tokens_and_sessions(device_api):
    for path in (TOKENS, SESSIONS):
        assert device_api.get(path).status_code == 403
    assert device_api.post(TOKENS, {}).status_code == 403


def test_sessions_are_listed_and_ended(owner, owner_api, stranger_client):
    browser = signed_in(owner)
    (listed,) = owner_api.get(SESSIONS).json()["results"]
    assert set(listed) == {
        "id",
        "current",
        "address",
        "user_agent",
        "created_at",
        "last_seen_at",
        "expires_at",
    }
    assert listed["current"] is False
    assert browser.get(SESSIONS).json()["results"][0]["current"] is True
    assert owner_api.delete(f"{SESSIONS}/{listed['id']}").status_code == 204
    assert browser.get("/").status_code == 302
    stranger_session = Session.objects.get()
    assert owner_api.delete(f"{SESSIONS}/{stranger_session.pk}").status_code == 404
    assert stranger_client.get("/").status_code == 200
