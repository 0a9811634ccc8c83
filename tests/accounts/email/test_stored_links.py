"""After a mailed link was opened, the session stores a digest of its token only."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.email import verification
from accounts.models import Session, User
from accounts.passwords import services as passwords
from accounts.registration import invitations
from accounts.registration import services as registrations
from accounts.sessions.store import SessionStore
from accounts.tokens import services as tokens
from accounts.tokens.format import TOKEN_IN_TEXT, PlaintextToken
from tests.factories import PASSWORD, StaffFactory, UserFactory
from tests.mail import Inbox, secret_of

NEW = "a quite long sentence"


def mailed_secret(inbox: Inbox, address: str) -> str:
    inbox.deliver()
    return secret_of(inbox.to(address)[-1])


def registration(owner: User, inbox: Inbox) -> str:
    registrations.register("ada", "ada@example.org", PASSWORD, now=timezone.now())
    return mailed_secret(inbox, "ada@example.org")


def email_change(owner: User, inbox: Inbox) -> str:
    verification.request_email_change(owner, "moved@example.org")
    return mailed_secret(inbox, "moved@example.org")


def invitation(owner: User, inbox: Inbox) -> str:
    invitations.invite(StaffFactory.create(), "ada@example.org", now=timezone.now())
    return mailed_secret(inbox, "ada@example.org")


def password_reset(owner: User, inbox: Inbox) -> str:
    passwords.request_reset(owner.email)
    return mailed_secret(inbox, owner.email)


def one_time_link(owner: User, inbox: Inbox) -> str:
    return tokens.issue(owner, scope=tokens.Scope.SIGN_IN, now=timezone.now())[1].text


Maker = Callable[[User, Inbox], str]
LINKS: list[tuple[Maker, str, dict[str, str]]] = [
    (registration, "/verify-email", {"password": PASSWORD}),
    (email_change, "/verify-email", {"password": PASSWORD}),
    (invitation, "/join", {"username": "ada", "password": NEW}),
    (password_reset, "/password-reset", {"password": NEW}),
    (one_time_link, "/sign-in/link", {}),
]


@pytest.fixture(autouse=True)
def _must_verify(settings: Any) -> None:
    settings.ALLOW_UNVERIFIED_LOGIN, settings.REGISTRATION_MODE = False, "open"


@pytest.mark.parametrize(("make", "path", "form"), LINKS)
def test_a_session_stores_no_token_of_a_link_and_the_link_works_once(
    owner: User, inbox: Inbox, client: Client, make: Maker, path: str, form: dict[str, str]
) -> None:
    secret = make(owner, inbox)
    button = client.get(f"{path}/{secret}").headers["Location"]
    assert client.get(button).status_code == 200
    (stored,) = [str(SessionStore().decode(row.data)) for row in Session.objects.all()]
    assert PlaintextToken(secret).digest.hex() in stored
    assert not TOKEN_IN_TEXT.search(stored)
    assert secret[4:] not in stored
    assert client.post(button, form).status_code == 302
    assert Client().get(f"{path}/{secret}", follow=True).status_code == 410


@pytest.mark.parametrize("make", [link[0] for link in LINKS])
def test_a_digest_is_rejected_in_place_of_a_token(
    owner: User, inbox: Inbox, client: Client, anonymous_api: Any, make: Maker
) -> None:
    digest = PlaintextToken(make(owner, inbox)).digest.hex()
    for path in ("/verify-email", "/join", "/password-reset", "/sign-in/link"):
        assert client.get(f"{path}/{digest}", follow=True).status_code == 410
    bodies = {
        "verify-email": {"password": PASSWORD},
        "join": {"username": "ada", "password": NEW},
        "password-reset/confirm": {"password": NEW},
    }
    for path, body in bodies.items():
        response = anonymous_api.post(f"/api/v1/auth/{path}", {"token": digest, **body})
        assert response.status_code == 422


def test_a_token_that_an_earlier_version_stored_in_a_session_is_rejected(
    owner: User, inbox: Inbox, client: Client
) -> None:
    secret = password_reset(owner, inbox)
    client.get(f"/password-reset/{secret}")
    session = client.session
    session["new-password"] = secret
    session.save()
    assert client.get("/password-reset/new").status_code == 410


def reset_of_stranger(owner: User, inbox: Inbox) -> str:
    return password_reset(UserFactory.create(username="stranger"), inbox)


def one_time_link_of_stranger(owner: User, inbox: Inbox) -> str:
    return one_time_link(UserFactory.create(username="stranger"), inbox)


def second_invitation(owner: User, inbox: Inbox) -> str:
    invitations.invite(StaffFactory.create(), "eve@example.org", now=timezone.now())
    return mailed_secret(inbox, "eve@example.org")


@pytest.mark.parametrize(
    ("first", "second", "path", "form", "shown"),
    [
        (registration, email_change, "/verify-email", {"password": PASSWORD}, "owner"),
        (
            invitation,
            second_invitation,
            "/join",
            {"username": "ada", "password": NEW},
            "eve@example.org",
        ),
        (password_reset, reset_of_stranger, "/password-reset", {"password": NEW}, "stranger"),
        (one_time_link, one_time_link_of_stranger, "/sign-in/link", {}, "stranger"),
    ],
)
def test_the_form_of_a_link_does_nothing_after_another_link_was_opened(
    owner: User,
    inbox: Inbox,
    client: Client,
    first: Maker,
    second: Maker,
    path: str,
    form: dict[str, str],
    shown: str,
) -> None:
    first_secret, second_secret = first(owner, inbox), second(owner, inbox)
    page = client.get(f"{path}/{first_secret}", follow=True)
    button = client.get(f"{path}/{second_secret}").headers["Location"]
    users = list(User.objects.order_by("pk").values())

    response = client.post(button, form | hidden_link(page))
    assert response.status_code == 409
    text = response.content.decode()
    assert "You have opened another link in the meantime." in text
    assert shown in text
    assert list(User.objects.order_by("pk").values()) == users
    assert "_auth_user_id" not in client.session
    for secret in (first_secret, second_secret):
        assert Client().get(f"{path}/{secret}", follow=True).status_code == 200

    assert client.post(button, form | hidden_link(response)).status_code == 302


def hidden_link(page: Any) -> dict[str, str]:
    """Return the hidden form field that names the link of the page."""
    found = re.search(r'<input type="hidden" name="link" value="(\w+)">', page.content.decode())
    assert found
    return {"link": found[1]}
