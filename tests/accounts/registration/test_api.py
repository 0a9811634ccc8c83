"""Joining, getting back in and one's own profile, for programs."""

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


def pointers(answer):
    assert answer.status_code == 422, answer.content
    return {(error["pointer"], error["code"]) for error in answer.json()["errors"]}


def test_registering_verifying_and_logging_in(anonymous_api, inbox):
    assert anonymous_api.post(f"{AUTH}/register", body()).status_code == 202
    login = {"username": "ada", "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/login", login).status_code == 401
    inbox.deliver()
    token = {"token": secret_of(inbox.mails[0]), "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/verify-email", token).status_code == 204
    answer = anonymous_api.post(f"{AUTH}/login", login)
    assert Api(answer.json()["token"]).get(ME).json()["username"] == "ada"
    assert pointers(anonymous_api.post(f"{AUTH}/verify-email", token)) == {("/token", "refused")}


def test_the_link_alone_makes_nobody_a_user(anonymous_api, inbox):
    anonymous_api.post(f"{AUTH}/register", body())
    inbox.deliver()
    token = {"token": secret_of(inbox.mails[0])}
    refused = anonymous_api.post(f"{AUTH}/verify-email", token)
    assert pointers(refused) == {("/password", "required")}
    refused = anonymous_api.post(f"{AUTH}/verify-email", {**token, "password": "wrong"})
    assert pointers(refused) == {("/password", "wrong-password")}
    assert not User.objects.exists()


@pytest.mark.parametrize("path", ["register", "verify-email/resend", "password-reset"])
def test_a_known_and_an_unknown_address_are_answered_alike(owner, anonymous_api, path):
    def answer(email):
        given = body(email=email) if path == "register" else {"email": email}
        told = anonymous_api.post(f"{AUTH}/{path}", given)
        assert told.status_code == 202
        headers = {name: value for name, value in told.items() if name != "X-Request-Id"}
        return told.content, headers

    assert answer("owner@example.org") == answer("nobody@example.org")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"username": "owner"}, ("/username", "taken")),
        ({"username": "a b"}, ("/username", "invalid")),
        ({"email": "nothing"}, ("/email", "invalid")),
        ({"password": "short"}, ("/password", "password_too_short")),
        ({"password": "nul\0" * 5}, ("/password", "nul-character")),
        ({"is_staff": True}, ("/is_staff", "unknown-field")),
    ],
)
def test_what_is_wrong_with_a_registration_is_pointed_at(owner, anonymous_api, given, fault):
    assert pointers(anonymous_api.post(f"{AUTH}/register", body(**given))) == {fault}
    assert not Registration.objects.exists()


def test_registering_where_it_is_by_invitation_is_refused(anonymous_api, settings):
    settings.REGISTRATION_MODE = "invitation"
    answer = anonymous_api.post(f"{AUTH}/register", body())
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:telemetry:problem:registration-closed"


def test_staff_invite_and_who_was_invited_joins(staff, anonymous_api, inbox):
    staff_api = Api(user_token(staff))
    invited = {"email": "ada@example.org"}
    assert staff_api.post("/api/v1/invitations", invited).status_code == 202
    inbox.deliver()
    given = {"token": secret_of(inbox.mails[0]), "username": "ada", "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/join", given).status_code == 204
    assert authenticate(username="ada", password=PASSWORD) is not None
    assert pointers(anonymous_api.post(f"{AUTH}/join", given)) == {("/token", "refused")}


def test_others_invite_nobody(owner_api):
    answer = owner_api.post("/api/v1/invitations", {"email": "ada@example.org"})
    assert answer.status_code == 403
    assert not Registration.objects.exists()


def test_a_forgotten_password_is_replaced(owner, anonymous_api, inbox):
    anonymous_api.post(f"{AUTH}/password-reset", {"email": owner.email})
    inbox.deliver()
    given = {"token": secret_of(inbox.mails[0]), "password": "short"}
    confirm = f"{AUTH}/password-reset/confirm"
    assert pointers(anonymous_api.post(confirm, given)) == {("/password", "password_too_short")}
    assert anonymous_api.post(confirm, {**given, "password": NEW}).status_code == 204
    assert authenticate(username="owner", password=NEW) == owner


def test_a_changed_password_keeps_the_token_that_asked_for_it_and_no_other(owner, owner_api):
    other = Api(user_token(owner))
    wrong = {"current": "wrong", "new": NEW}
    assert owner_api.post(f"{AUTH}/password", wrong).status_code == 403
    weak = owner_api.post(f"{AUTH}/password", {"current": PASSWORD, "new": "short"})
    assert pointers(weak) == {("/new", "password_too_short")}
    given = {"current": PASSWORD, "new": NEW}
    assert owner_api.post(f"{AUTH}/password", given).status_code == 204
    assert owner_api.get(ME).status_code == 200
    assert other.get(ME).status_code == 401


def test_a_password_changed_by_a_browser_keeps_its_session(owner):
    browser = Client()
    browser.force_login(owner)
    given = {"current": PASSWORD, "new": NEW}
    assert browser.post(f"{AUTH}/password", given, "application/json").status_code == 204
    assert browser.get(ME).status_code == 200


def test_a_user_sees_themselves(owner, owner_api):
    seen = owner_api.get(ME).json()
    assert set(seen) == {
        "id", "username", "email", "email_verified_at", "pending_email", "time_zone",
        "language", "created_at",
    }  # fmt: skip
    assert (seen["username"], seen["time_zone"]) == ("owner", "UTC")


def test_a_user_changes_name_and_time_zone(owner, owner_api):
    given = {"username": "ada", "time_zone": "Europe/Brussels"}
    answer = owner_api.patch(ME, given)
    assert {key: answer.json()[key] for key in given} == given
    assert owner_api.patch(ME, {}).json()["username"] == "ada"
    owner.refresh_from_db()
    assert (owner.username, owner.time_zone) == ("ada", "Europe/Brussels")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"username": "STRANGER"}, ("/username", "taken")),
        ({"username": "a@b"}, ("/username", "invalid")),
        ({"time_zone": "Europe/Atlantis"}, ("/time_zone", "invalid")),
        ({"email": "new@example.org"}, ("/password", "required")),
        ({"email": "owner@example.org", "password": PASSWORD}, ("/email", "invalid")),
        ({"is_staff": True}, ("/is_staff", "unknown-field")),
    ],
)
def test_what_is_wrong_with_a_change_is_pointed_at(owner, stranger, owner_api, given, fault):
    assert pointers(owner_api.patch(ME, given)) == {fault}


def test_another_address_holds_once_it_is_proven(owner, owner_api, anonymous_api, inbox):
    given = {"email": "new@example.org", "password": PASSWORD}
    assert owner_api.patch(ME, {**given, "password": "wrong"}).status_code == 403
    answer = owner_api.patch(ME, given).json()
    assert (answer["email"], answer["pending_email"]) == (owner.email, "new@example.org")
    inbox.deliver()
    token = {"token": secret_of(inbox.to("new@example.org")[0]), "password": PASSWORD}
    assert anonymous_api.post(f"{AUTH}/verify-email", token).status_code == 204
    assert owner_api.get(ME).json()["email"] == "new@example.org"


def test_one_name_is_tried_ten_times_from_one_address_known_or_not(owner, anonymous_api):
    def tries(name):
        login = {"username": name, "password": "wrong"}
        return [anonymous_api.post(f"{AUTH}/login", login) for _ in range(11)]

    for name in ("owner", "nobody"):
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


def test_many_names_from_one_address_are_counted_together(anonymous_api, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in-address": (3, 60)}
    login = {"password": "wrong"}
    answers = [anonymous_api.post(f"{AUTH}/login", {**login, "username": f"n{n}"}) for n in "1234"]
    assert answers[-1].json()["type"] == "urn:telemetry:problem:limit:sign-in-address"


def test_who_knows_the_password_is_never_kept_out_by_their_own_tries(owner, anonymous_api):
    for _ in range(3):
        for _ in range(9):
            anonymous_api.post(f"{AUTH}/login", {"username": "owner", "password": "wrong"})
        right = {"username": "owner", "password": PASSWORD}
        assert anonymous_api.post(f"{AUTH}/login", right).status_code == 200
    assert Token.objects.count() == 3


@pytest.mark.parametrize("path", ["register", "verify-email/resend", "password-reset"])
def test_what_causes_mail_is_limited_whether_the_address_is_known_or_not(
    owner, anonymous_api, settings, path
):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "mail": (2, 60)}
    for email in ("owner@example.org", "nobody@example.org"):
        given = body(email=email) if path == "register" else {"email": email}
        answers = [anonymous_api.post(f"{AUTH}/{path}", given) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[-1].json()["type"] == "urn:telemetry:problem:limit:mail"


def test_more_passwords_than_can_be_hashed_are_answered_with_503(owner, anonymous_api, monkeypatch):
    monkeypatch.setattr(hashers, "SLOT_TIMEOUT_SECONDS", 0.01)
    login = {"username": "owner", "password": PASSWORD}
    with hashers.hashing_slot():
        answer = anonymous_api.post(f"{AUTH}/login", login)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert anonymous_api.post(f"{AUTH}/login", login).status_code == 200
    assert User.objects.count() == 1
