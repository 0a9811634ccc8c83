"""Every route that makes a token asks a browser for the second factor, where the user has one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pyotp import TOTP

from accounts.models import Token, User
from devices.models import Device, DeviceToken
from tests.conftest import Api, signed_in
from tests.factories import (
    PASSWORD,
    device_token_and_row,
    second_factor_of,
    user_token,
    user_token_and_row,
)

FORM = {"label": "x", "access": "read", "days": "30"}
PAGES: dict[str, dict[str, Any]] = {
    "/tokens/new": FORM,
    "/tokens/{own}/rotate": {},
    "/devices/new": {"name": "pump", "device_type": "generic", "expected_interval": "60"},
    "/devices/{device}/connect": {},
    "/devices/{device}/tokens/new": FORM,
    "/devices/{device}/tokens/{token}/rotate": {},
    "/admin/devices/device/": {"action": "rotate_tokens", "confirmed": "yes"},
}
API: dict[str, dict[str, Any]] = {
    "/api/v1/tokens": {},
    "/api/v1/devices": {"name": "pump"},
    "/api/v1/devices/{device}/tokens": {},
    "/api/v1/devices/{device}/tokens/rotate": {},
}
Filled = Callable[[str], str]


@pytest.fixture
def twin(owner: User) -> TOTP:
    """The owner's authenticator."""
    User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    twin = second_factor_of(owner, now=timezone.now() - timedelta(minutes=2))
    owner.refresh_from_db()
    return twin


@pytest.fixture
def at(owner: User, device: Device, twin: TOTP) -> Filled:
    """A path with the ids in it."""
    own, _secret = user_token_and_row(owner)
    token, _secret = device_token_and_row(device)
    return lambda path: path.format(own=own.pk, device=device.pk, token=token.pk)


def made() -> tuple[int, int]:
    """How many tokens were ever made."""
    return Token.objects.count(), DeviceToken.objects.count()


def with_code(twin: TOTP) -> Client:
    browser = Client()
    browser.post("/sign-in", {"username": "owner", "password": PASSWORD})
    browser.post("/sign-in/code", {"code": twin.at(timezone.now())})
    return browser


def api_of(client: Client) -> Api:
    api = Api()
    api.client = client
    return api


@pytest.mark.parametrize("path", PAGES)
def test_a_page_sends_a_browser_without_a_code_to_sign_in(
    path: str, at: Filled, owner: User, device: Device, twin: TOTP
) -> None:
    form = {**PAGES[path], "_selected_action": str(device.pk)}
    before = made()
    answer = signed_in(owner).post(at(path), form)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/sign-in?next={at(path)}"
    assert made() == before
    assert with_code(twin).post(at(path), form).status_code == 200
    assert made() != before


@pytest.mark.parametrize("path", API)
def test_the_api_refuses_a_browser_without_a_code(
    path: str, at: Filled, owner: User, twin: TOTP
) -> None:
    before = made()
    answer = api_of(signed_in(owner)).post(at(path), API[path])
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:telemetry:problem:second-factor-required"
    assert made() == before
    assert api_of(with_code(twin)).post(at(path), API[path]).status_code == 201


@pytest.mark.parametrize("path", [path for path in API if "/devices" in path])
def test_an_api_token_which_was_made_with_a_code_makes_tokens_of_devices(
    path: str, at: Filled, owner: User
) -> None:
    assert Api(user_token(owner)).post(at(path), API[path]).status_code == 201


def test_to_look_at_how_a_device_is_connected_needs_no_code(at: Filled, owner: User) -> None:
    assert signed_in(owner).get(at("/devices/{device}/connect")).status_code == 200


@pytest.mark.parametrize("path", ["/devices/{device}/tokens/new", "/devices/{device}/connect"])
def test_without_a_second_factor_nothing_is_asked(
    path: str, device: Device, owner_client: Client
) -> None:
    assert owner_client.post(path.format(device=device.pk), FORM).status_code == 200
