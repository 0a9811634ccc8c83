"""API: registration, invitations, password resets and the user's own profile."""

import pytest
from django.contrib.auth import authenticate
from django.test import Client

from accounts.models import Registration, Token, User
from accounts.passwords import hashers
from tests.conftest import Api
from tests.factories import PASSWORD, user_token
from tests.mail import secret_of

AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"
NEW = "a quite long sentence"


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False


def body(**other):
    return {"username": "ada", "email": "ada@example.org", "password": PASSWORD, **other}


def error_pointers_and_codes(answer):
    assert answer.status_code == 422, answer.content
    return {(error["pointer"], error["code"]) for error in answer.json()["errors"]}


def test_a_user_registers_verifies_the_email_and_logs_in(anonymous_api, inbox):
    assert anonymous_api.post(f"{AUTH}/register", body()).status_code == 202
    login = {"username": "ada", "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/login", login).status_code == 401
    inbox.deliver()
    token = {"token": secret_of(inbox.mails[0]), "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/verify-email", token).status_code == 204
    answer = anonymous_api.post(f"{AUTH}/login", login)
    assert Api(answer.json()["token"]).get(ME).json()["username"] == "ada"
    assert error_pointers_and_codes(anonymous_api.post(f"{AUTH}/verify-email", token)) == {
        ("/token", "refused")
    }


def test_a_registration_is_not_completed_without_its_password(anonymous_api, inbox):
    anonymous_api.post(f"{AUTH}/register", body())
    inbox.deliver()
    token = {"token": secret_of(inbox.mails[0])}
    refused = anonymous_api.post(f"{AUTH}/verify-email", token)
    assert error_pointers_and_codes(refused) == {("/password", "required")}
    refused = anonymous_api.post(f"{AUTH}/verify-email", {**token, "password": "wrong"})
    assert error_pointers_and_codes(refused) == {("/password", "wrong-password")}
    assert not User.objects.exists()


@pytest.mark.parametrize("path", ["register", "verify-email/resend", "password-reset"])
def test_a_known_and_an_unknown_email_get_the_same_response(owner, anonymous_api, path):
    def answer(email):
        given = body(email=email) if path == "register" else {"email": email}
        response = anonymous_api.post(f"{AUTH}/{path}", given)
        assert response.status_code == 202
        headers = {name: value for name, value in response.items() if name != "X-Request-Id"}
        return response.content, headers

    assert answer("owner@example.org") == answer("unknown@example.org")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"username": "owner"}, ("/username", "taken")),
        ({"username": "a b"}, ("/username", "invalid")),
        ({"email": "nothing"}, ("/email", "invalid")),
        ({"password": "short"}, ("/password", "password_too_short")),
        ({"password": "nul\0" * 5}, ("/password", "nul-character")),
        ({"is_staff": True}, ("/is_staff", "unknown-field")),
    ],
)
def test_an_invalid_registration_is_422_with_a_pointer(owner, anonymous_api, given, error):
    assert error_pointers_and_codes(anonymous_api.post(f"{AUTH}/register", body(**given))) == {
        error
    }
    assert not Registration.objects.exists()


def test_a_registration_is_403_when_an_invitation_is_required(anonymous_api, settings):
    settings.REGISTRATION_MODE = "invitation"
    answer = anonymous_api.post(f"{AUTH}/register", body())
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:telemetry:problem:registration-closed"


def test_a_user_invited_by_staff_joins(staff, anonymous_api, inbox):
    staff_api = Api(user_token(staff))
    invited = {"email": "ada@example.org"}
    assert staff_api.post("/api/v1/invitations", invited).status_code == 202
    inbox.deliver()
    given = {"token": secret_of(inbox.mails[0]), "username": "ada", "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/join", given).status_code == 204
    assert authenticate(username="ada", password=PASSWORD) is not None
    assert error_pointers_and_codes(anonymous_api.post(f"{AUTH}/join", given)) == {
        ("/token", "refused")
    }


def test_an_invitation_by_a_user_who_is_not_staff_is_403(owner_api):
    answer = owner_api.post("/api/v1/invitations", {"email": "ada@example.org"})
    assert answer.status_code == 403
    assert not Registration.objects.exists()


def test_a_password_is_reset_by_mail(owner, anonymous_api, inbox):
    anonymous_api.post(f"{AUTH}/password-reset", {"email": owner.email})
    inbox.deliver()
    given = {"token": secret_of(inbox.mails[0]), "password": "short"}
    confirm = f"{AUTH}/password-reset/confirm"
    assert error_pointers_and_codes(anonymous_api.post(confirm, given)) == {
        ("/password", "password_too_short")
    }
    assert anonymous_api.post(confirm, {**given, "password": NEW}).status_code == 204
    assert authenticate(username="owner", password=NEW) == owner


def test_a_password_change_revokes_all_tokens_except_that_of_the_request(owner, owner_api):
    other = Api(user_token(owner))
    wrong = {"current": "wrong", "new": NEW}
    assert owner_api.post(f"{AUTH}/password", wrong).status_code == 403
    weak = owner_api.post(f"{AUTH}/password", {"current": PASSWORD, "new": "short"})
    assert error_pointers_and_codes(weak) == {("/new", "password_too_short")}
    given = {"current": PASSWORD, "new": NEW}
    assert owner_api.post(f"{AUTH}/password", given).status_code == 204
    assert owner_api.get(ME).status_code == 200
    assert other.get(ME).status_code == 401


def test_a_password_change_keeps_the_session_of_the_request(owner):
    browser = Client()
    browser.force_login(owner)
    given = {"current": PASSWORD, "new": NEW}
    assert browser.post(f"{AUTH}/password", given, "application/json").status_code == 204
    assert browser.get(ME).status_code == 200


def test_a_user_reads_their_own_profile(owner, owner_api):
    seen = owner_api.get(ME).json()
    assert set(seen) == {
        "id", "username", "email", "email_verified_at", "pending_email", "time_zone",
        "language", "created_at",
    }  # fmt: skip
    assert (seen["username"], seen["time_zone"]) == ("owner", "UTC")


def test_a_user_changes_username_and_time_zone(owner, owner_api):
    given = {"username": "ada", "time_zone": "Europe/Brussels"}
    answer = owner_api.patch(ME, given)
    assert {key: answer.json()[key] for key in given} == given
    assert owner_api.patch(ME, {}).json()["username"] == "ada"
    owner.refresh_from_db()
    assert (owner.username, owner.time_zone) == ("ada", "Europe/Brussels")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"username": "STRANGER"}, ("/username", "taken")),
        ({"username": "a@b"}, ("/username", "invalid")),
        ({"time_zone": "Europe/Atlantis"}, ("/time_zone", "invalid")),
        ({"email": "new@example.org"}, ("/password", "required")),
        ({"email": "owner@example.org", "password": PASSWORD}, ("/email", "invalid")),
        ({"is_staff": True}, ("/is_staff", "unknown-field")),
    ],
)
def test_an_invalid_profile_change_is_422_with_a_pointer(owner, stranger, owner_api, given, error):
    assert error_pointers_and_codes(owner_api.patch(ME, given)) == {error}


def test_a_new_email_is_set_after_its_verification(owner, owner_api, anonymous_api, inbox):
    given = {"email": "new@example.org", "password": PASSWORD}
    assert owner_api.patch(ME, {**given, "password": "wrong"}).status_code == 403
    answer = owner_api.patch(ME, given).json()
    assert (answer["email"], answer["pending_email"]) == (owner.email, "new@example.org")
    inbox.deliver()
    token = {"token": secret_of(inbox.to("new@example.org")[0]), "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/verify-email", token).status_code == 204
    assert owner_api.get(ME).json()["email"] == "new@example.org"


def test_the_eleventh_login_with_one_username_from_one_ip_address_is_429(owner, anonymous_api):
    def tries(name):
        login = {"username": name, "password": "wrong"}
        return [anonymous_api.post(f"{AUTH}/login", login) for _ in range(11)]

    for name in ("owner", "unknown"):
        answers = tries(name)
        assert [answer.status_code for answer in answers] == [401] * 10 + [429]
        assert 800 < int(answers[-1]["Retry-After"]) <= 900
        assert answers[-1].json()["type"] == "urn:telemetry:problem:limit:sign-in"
    right = {"username": "owner", "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/login", right).status_code == 429
    elsewhere = anonymous_api.client.post(
        f"{AUTH}/login", right, "application/json", REMOTE_ADDR="192.0.2.9"
    )
    assert elsewhere.status_code == 200


def test_logins_with_many_usernames_from_one_ip_address_are_limited_together(
    anonymous_api, settings
):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in-address": (3, 60)}
    login = {"password": "wrong"}
    answers = [anonymous_api.post(f"{AUTH}/login", {**login, "username": f"n{n}"}) for n in "1234"]
    assert answers[-1].json()["type"] == "urn:telemetry:problem:limit:sign-in-address"


def test_a_right_password_resets_the_count_of_failed_logins(owner, anonymous_api):
    for _ in range(3):
        for _ in range(9):
            anonymous_api.post(f"{AUTH}/login", {"username": "owner", "password": "wrong"})
        right = {"username": "owner", "password": PASSWORD}
        assert anonymous_api.post(f"{AUTH}/login", right).status_code == 200
    assert Token.objects.count() == 3


@pytest.mark.parametrize("path", ["register", "verify-email/resend", "password-reset"])
def test_requests_that_send_mail_are_limited_for_known_and_unknown_emails(
    owner, anonymous_api, settings, path
):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "mail": (2, 60)}
    for email in ("owner@example.org", "unknown@example.org"):
        given = body(email=email) if path == "register" else {"email": email}
        answers = [anonymous_api.post(f"{AUTH}/{path}", given) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[-1].json()["type"] == "urn:telemetry:problem:limit:mail"


def test_a_login_without_a_free_hashing_slot_is_503(owner, anonymous_api, monkeypatch):
    monkeypatch.setattr(hashers, "SLOT_TIMEOUT_SECONDS", 0.01)
    login = {"username": "owner", "password": PASSWORD}
    with hashers.hashing_slot():
        answer = anonymous_api.post(f"{AUTH}/login", login)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert anonymous_api.post(f"{AUTH}/login", login).status_code == 200
    assert User.objects.count() == 1
