"""Pages to sign in, to sign out and to change the password."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Session, User
from accounts.tokens import services as tokens
from tests.factories import PASSWORD, user_token_and_row

SIGN_IN = "/sign-in"


def link_secret(user: User, *, age: timedelta = timedelta(0)) -> str:
    now = timezone.now() - age
    return tokens.issue(user, scope=tokens.Scope.SIGN_IN, now=now)[1].text


@pytest.mark.parametrize("name", ["owner", "OWNER", "owner@example.org", "Owner@Example.org"])
def test_username_or_email_and_password_sign_in(client: Client, owner: User, name: str) -> None:
    response = client.post(SIGN_IN, {"username": name, "password": PASSWORD})
    assert response.headers["Location"] == "/"
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("owner", "wrong"),
        ("unknown", PASSWORD),
        ("own\0er", PASSWORD),
        ("owner", PASSWORD + "\0"),
        ("owner", "x" * 2000),
        ("x" * 300, PASSWORD),
    ],
)
def test_a_rejected_sign_in_opens_no_session(
    client: Client, owner: User, name: str, password: str
) -> None:
    response = client.post(SIGN_IN, {"username": name, "password": password})
    assert response.status_code == 200
    assert client.get("/").headers["Location"] == "/sign-in?next=/"


def test_wrong_password_and_unknown_username_show_the_same_message(
    client: Client, owner: User
) -> None:
    known = client.post(SIGN_IN, {"username": "owner", "password": "wrong"})
    unknown = client.post(SIGN_IN, {"username": "unknown", "password": "wrong"})
    for response in (known, unknown):
        assert "Wrong username or password." in response.content.decode()


def test_a_deactivated_user_sees_the_same_message(client: Client, owner: User) -> None:
    User.objects.update(is_active=False)
    response = client.post(SIGN_IN, {"username": "owner", "password": PASSWORD})
    assert "Wrong username or password." in response.content.decode()


def test_next_redirects_within_the_site(client: Client, owner: User) -> None:
    form = {"username": "owner", "password": PASSWORD, "next": "/devices/new"}
    assert client.post(SIGN_IN, form).headers["Location"] == "/devices/new"


@pytest.mark.parametrize(
    "evil", ["//evil.example", "\\\\evil.example", "https:evil.example", "https://evil.example/"]
)
def test_next_never_redirects_to_another_site(client: Client, owner: User, evil: str) -> None:
    form = {"username": "owner", "password": PASSWORD, "next": evil}
    assert client.post(SIGN_IN, form).headers["Location"] == "/"


def test_the_sign_in_page_redirects_a_signed_in_user(owner_client: Client) -> None:
    assert owner_client.get(SIGN_IN).headers["Location"] == "/"


def test_signing_out_ends_the_session(owner_client: Client) -> None:
    assert owner_client.post("/sign-out").headers["Location"] == "/sign-in"
    assert owner_client.get("/").status_code == 302


def test_a_get_request_to_sign_out_is_405(owner_client: Client) -> None:
    assert owner_client.get("/sign-out").status_code == 405
    assert owner_client.get("/").status_code == 200


def test_an_htmx_request_without_a_session_redirects_the_whole_page_to_sign_in(
    client: Client, db: None
) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/?status=online"}
    response = client.get("/devices/rows", headers=headers, follow=True)
    assert response.status_code == 204
    assert response.headers["HX-Redirect"] == "/sign-in?next=%2F%3Fstatus%3Donline"


@pytest.mark.parametrize("url", ["", "nonsense", "http://[", "http://x//evil.example"])
def test_an_invalid_hx_current_url_redirects_to_sign_in(
    client: Client, owner: User, url: str
) -> None:
    response = client.get(SIGN_IN, headers={"HX-Request": "true", "HX-Current-URL": url})
    assert response.headers["HX-Redirect"].startswith("/sign-in?next=%2F")


def test_a_one_time_link_removes_its_token_from_the_url_before_it_shows_a_page(
    client: Client, owner: User
) -> None:
    secret = link_secret(owner)
    response = client.get(f"/sign-in/link/{secret}")
    assert response.headers["Location"] == "/sign-in/link"
    page = client.get("/sign-in/link").content.decode()
    assert "Sign in as owner" in page
    assert secret not in page


def test_the_button_of_a_one_time_link_signs_in_with_a_new_session_key(
    client: Client, owner: User
) -> None:
    client.get(f"/sign-in/link/{link_secret(owner)}")
    before = client.session.session_key
    assert client.post("/sign-in/link").headers["Location"] == "/"
    assert client.get("/").status_code == 200
    assert client.session.session_key != before
    assert "sign_in_link" not in client.session


def test_opening_a_one_time_link_does_not_consume_it(client: Client, owner: User) -> None:
    secret = link_secret(owner)
    for _ in range(2):
        client.get(f"/sign-in/link/{secret}")
        assert client.get("/sign-in/link").status_code == 200


def test_a_one_time_link_works_once(client: Client, owner: User) -> None:
    secret = link_secret(owner)
    client.get(f"/sign-in/link/{secret}")
    client.post("/sign-in/link")
    other = Client()
    response = other.get(f"/sign-in/link/{secret}", follow=True)
    assert response.status_code == 410
    assert "manage.py sign_in_link" in response.content.decode()
    assert other.post("/sign-in/link").status_code == 410
    assert other.get("/").status_code == 302


def test_the_first_of_two_clients_with_the_same_link_signs_in(client: Client, owner: User) -> None:
    secret = link_secret(owner)
    second = Client()
    for browser in (client, second):
        browser.get(f"/sign-in/link/{secret}")
    assert client.post("/sign-in/link").status_code == 302
    assert second.post("/sign-in/link").status_code == 410


def test_an_expired_link_is_rejected(client: Client, owner: User) -> None:
    secret = link_secret(owner, age=timedelta(hours=2))
    assert client.get(f"/sign-in/link/{secret}", follow=True).status_code == 410


@pytest.mark.parametrize("secret", ["x", "tsl_", "%00", "tsl_" + "0" * 49, "😀"])
def test_a_malformed_link_is_rejected_and_stores_no_session(
    client: Client, db: None, secret: str
) -> None:
    assert client.get(f"/sign-in/link/{secret}", follow=True).status_code == 410
    assert not Session.objects.exists()


def test_an_api_token_is_rejected_as_a_one_time_link(client: Client, owner: User) -> None:
    _, secret = user_token_and_row(owner)
    assert client.get(f"/sign-in/link/{secret}", follow=True).status_code == 410


def test_a_user_without_a_password_is_reminded_until_they_dismiss_it(
    owner_client: Client, owner: User
) -> None:
    assert "no password yet" not in owner_client.get("/").content.decode()
    owner.set_unusable_password()
    owner.save()
    browser = Client()
    browser.force_login(owner)
    assert "no password yet" in browser.get("/").content.decode()
    assert browser.post("/account/password/later").headers["Location"] == "/"
    assert "no password yet" not in browser.get("/").content.decode()


def test_the_first_password_is_set_without_the_current_one(owner: User) -> None:
    owner.set_unusable_password()
    owner.save()
    browser = Client()
    browser.force_login(owner)
    assert "old_password" not in browser.get("/account/password").content.decode()
    new = {"new_password1": "a quite long sentence", "new_password2": "a quite long sentence"}
    assert browser.post("/account/password", new).headers["Location"] == "/"
    assert browser.get("/").status_code == 200
    assert Client().login(username="owner", password="a quite long sentence")


def test_a_changed_password_ends_other_sessions_and_tokens_but_not_this_session(
    owner_client: Client, owner: User
) -> None:
    elsewhere = Client()
    elsewhere.force_login(owner)
    token, _ = user_token_and_row(owner)
    form = {
        "old_password": PASSWORD,
        "new_password1": "a quite long sentence",
        "new_password2": "a quite long sentence",
    }
    assert owner_client.post("/account/password", form).status_code == 302
    assert owner_client.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302
    token.refresh_from_db()
    assert token.revoked


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"old_password": "wrong", "new_password1": "a quite long one", "new_password2": "x"},
        {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"},
    ],
)
def test_an_invalid_form_does_not_change_the_password(
    owner_client: Client, form: dict[str, str]
) -> None:
    assert owner_client.post("/account/password", form).status_code == 422
    assert Client().login(username="owner", password=PASSWORD)


def test_pressing_the_button_of_a_link_twice_signs_in(owner: User) -> None:
    browser = Client()
    _, secret = tokens.issue(owner, scope=tokens.Scope.SIGN_IN, now=timezone.now())
    browser.get(f"/sign-in/link/{secret.text}")
    for _ in range(2):
        response = browser.post("/sign-in/link")
        assert (response.status_code, response["Location"]) == (302, "/")
    assert browser.get("/").status_code == 200


def test_a_password_longer_than_the_sign_in_form_accepts_is_rejected(owner_client: Client) -> None:
    long = "correct horse battery " * 60
    fields = {"old_password": PASSWORD, "new_password1": long, "new_password2": long}
    response = owner_client.post("/account/password", fields)
    assert "at most 1024 characters" in response.content.decode()
    assert Client().login(username="owner", password=PASSWORD)


def test_wrong_current_passwords_are_rate_limited(owner_client: Client, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "password": (1, 60)}
    wrong = {"old_password": "wrong", "new_password1": "a quite long sentence"}
    assert owner_client.post("/account/password", wrong).status_code == 422
    assert owner_client.post("/account/password", wrong).status_code == 429
