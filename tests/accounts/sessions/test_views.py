"""The page with the user's sessions."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
import ua_parser
from django.test import Client
from django.utils import timezone

from accounts.models import Session, User
from accounts.sessions import views as session_views
from accounts.sessions.views import describe_user_agent
from tests.conftest import signed_in
from tests.factories import PASSWORD

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "description"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Mobile Safari on iOS"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
        ("\N{SNOWMAN}(((", "Unknown browser"),
    ],
)
def test_a_user_agent_is_described_by_browser_and_system(user_agent: str, description: str) -> None:
    assert describe_user_agent(user_agent) == description


def test_the_page_marks_this_browser_and_ends_another_session(
    owner: User, owner_client: Client, stranger_client: Client
) -> None:
    other_client = signed_in(owner)
    Session.objects.filter(user=owner).update(user_agent=FIREFOX, address="2001:db8::7")
    page = owner_client.get("/account/sessions").content.decode()
    assert page.count("Firefox on Linux</strong>") == 2
    assert page.count("This session") == 1
    assert "2001:db8::7" in page
    other = next(one for one in Session.objects.filter(user=owner) if f"{one.pk}/end" in page)
    assert owner_client.post(f"/account/sessions/{other.pk}/end").status_code == 302
    assert other_client.get("/").status_code == 302
    assert owner_client.get("/").status_code == 200


def test_all_other_sessions_of_the_user_are_ended(
    owner: User, owner_client: Client, stranger_client: Client
) -> None:
    others = [signed_in(owner) for _ in range(2)]
    assert owner_client.post("/account/sessions/end-others").status_code == 302
    assert [browser.get("/").status_code for browser in others] == [302, 302]
    assert owner_client.get("/").status_code == 200
    assert stranger_client.get("/").status_code == 200


def test_the_session_of_another_user_is_404(
    stranger: User, stranger_client: Client, owner_client: Client
) -> None:
    stranger_session = Session.objects.get(user=stranger)
    assert owner_client.post(f"/account/sessions/{stranger_session.pk}/end").status_code == 404
    assert stranger_client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/account/sessions"])
def test_an_anonymous_client_is_redirected_to_sign_in(client: Client, db: None, path: str) -> None:
    assert client.get(path).headers["Location"].startswith("/sign-in?next=")


def test_the_page_shows_the_newest_hundred_sessions_and_counts_the_rest(
    owner: User, owner_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    Session.objects.bulk_create(
        Session(
            key_hash=number.to_bytes(32, "big"),
            user=owner,
            user_agent=FIREFOX,
            created_at=now,
            last_seen_at=now - timedelta(minutes=number),
            expires_at=now + timedelta(days=1),
        )
        for number in range(1, 151)
    )
    parse = Mock(wraps=ua_parser.parse)
    monkeypatch.setattr(ua_parser, "parse", parse)
    session_views._parse.cache_clear()
    page = owner_client.get("/account/sessions").content.decode()
    assert page.count("<li>\n        <div>") == 100
    assert page.count("This session") == 1
    assert "51 older sessions are not shown." in page
    assert parse.call_count == 2


def test_a_new_session_over_the_limit_ends_the_oldest(
    owner: User, client: Client, settings: Any
) -> None:
    settings.SESSIONS_PER_USER = 2
    browsers = [Client() for _ in range(3)]
    for browser in browsers:
        browser.post("/sign-in", {"username": "owner", "password": PASSWORD})
    assert [browser.get("/").status_code for browser in browsers] == [302, 200, 200]
    assert Session.objects.filter(user=owner).count() == 2
