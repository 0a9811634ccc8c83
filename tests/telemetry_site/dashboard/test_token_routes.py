"""Every route that creates a token requires an MFA code in browsers, if the user has two-factor
authentication.
"""

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
    enable_mfa,
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
def authenticator(owner: User) -> TOTP:
    """The owner's authenticator app."""
    User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    authenticator = enable_mfa(owner, now=timezone.now() - timedelta(minutes=2))
    owner.refresh_from_db()
    return authenticator


@pytest.fixture
def fill_path(owner: User, device: Device, authenticator: TOTP) -> Filled:
    """Fill in the ids of a path."""
    own, _secret = user_token_and_row(owner)
    token, _secret = device_token_and_row(device)
    return lambda path: path.format(own=own.pk, device=device.pk, token=token.pk)


def count_tokens() -> tuple[int, int]:
    """Return how many tokens of users and of devices exist."""
    return Token.objects.count(), DeviceToken.objects.count()


def with_code(authenticator: TOTP) -> Client:
    browser = Client()
    browser.post("/sign-in", {"username": "owner", "password": PASSWORD})
    browser.post("/sign-in/code", {"code": authenticator.at(timezone.now())})
    return browser


def api_of(client: Client) -> Api:
    api = Api()
    api.client = client
    return api


@pytest.mark.parametrize("path", PAGES)
def test_without_a_code_a_page_redirects_to_the_login_and_creates_no_token(
    path: str, fill_path: Filled, owner: User, device: Device, authenticator: TOTP
) -> None:
    form = {**PAGES[path], "_selected_action": str(device.pk)}
    before = count_tokens()
    answer = signed_in(owner).post(fill_path(path), form)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/sign-in?next={fill_path(path)}"
    assert count_tokens() == before
    assert with_code(authenticator).post(fill_path(path), form).status_code == 200
    assert count_tokens() != before


@pytest.mark.parametrize("path", API)
def test_without_a_code_the_api_is_403_and_creates_no_token(
    path: str, fill_path: Filled, owner: User, authenticator: TOTP
) -> None:
    before = count_tokens()
    answer = api_of(signed_in(owner)).post(fill_path(path), API[path])
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:telemetry:problem:second-factor-required"
    assert count_tokens() == before
    assert api_of(with_code(authenticator)).post(fill_path(path), API[path]).status_code == 201


@pytest.mark.parametrize("path", [path for path in API if "/devices" in path])
def test_an_api_token_needs_no_code_to_create_tokens_of_devices(
    path: str, fill_path: Filled, owner: User
) -> None:
    assert Api(user_token(owner)).post(fill_path(path), API[path]).status_code == 201


def test_the_connect_page_needs_no_code(fill_path: Filled, owner: User) -> None:
    assert signed_in(owner).get(fill_path("/devices/{device}/connect")).status_code == 200


@pytest.mark.parametrize("path", ["/devices/{device}/tokens/new", "/devices/{device}/connect"])
def test_without_two_factor_authentication_no_code_is_required(
    path: str, device: Device, owner_client: Client
) -> None:
    assert owner_client.post(path.format(device=device.pk), FORM).status_code == 200
