"""The URL of the live process for pages and programs."""

import pytest
from django.conf import settings
from django.test import Client, override_settings

from tests.conftest import Api

LIVE = f"http://testserver:{settings.LIVE_PORT}"
PROXIED = override_settings(LIVE_URL="https://site.example", PUBLIC_URL="https://site.example")


def connect_src(client: Client, path: str) -> str:
    policy = client.get(path).headers["Content-Security-Policy"]
    return next(part for part in policy.split("; ") if part.startswith("connect-src"))


def test_a_page_may_connect_to_the_origin_of_the_live_process(owner_client: Client) -> None:
    assert connect_src(owner_client, "/") == f"connect-src 'self' {LIVE}"
    assert f'data-live="{LIVE}"' in owner_client.get("/").text


def test_behind_a_proxy_the_live_url_is_the_sites_own_origin(owner_client: Client) -> None:
    with PROXIED:
        assert connect_src(owner_client, "/") == "connect-src 'self'"
        assert 'data-live="https://site.example"' in owner_client.get("/").text


@pytest.mark.parametrize("away", [{"LIVE_PORT": 0}, {"HTTPS": True}])
def test_without_a_live_process_no_page_or_response_contains_its_url(
    owner_client: Client, owner_api: Api, device_api: Api, away: dict[str, object]
) -> None:
    with override_settings(**away):
        assert connect_src(owner_client, "/") == "connect-src 'self'"
        assert "data-live" not in owner_client.get("/").text
        assert device_api.get("/api/v1/device").json()["live_url"] is None
        assert owner_api.get("/api/v1/events").status_code == 503


def test_pages_without_a_session_have_no_live_url(client: Client, db: None) -> None:
    assert "data-live" not in client.get("/sign-in").text


def test_a_request_for_events_redirects_to_the_live_process(owner_api: Api) -> None:
    answer = owner_api.get("/api/v1/events?device=a")
    assert (answer.status_code, answer.headers["Location"]) == (
        307,
        f"{LIVE}/api/v1/events?device=a",
    )


def test_the_main_process_responds_to_a_poll_immediately(device_api: Api) -> None:
    assert device_api.get("/api/v1/device/commands?wait=30").status_code == 204
