"""Pages to add, connect, change and delete a device."""

import re
from datetime import timedelta

import pytest
from django.conf import settings as site_settings
from django.test import Client
from django.utils import timezone

from accounts.models import Session
from accounts.sessions.store import SessionStore
from accounts.tokens import format as token_format
from devices import services as device_services
from devices.models import Device, DeviceToken
from tests.conftest import Api

FORM = {"name": "mast", "device_type": "weather", "expected_interval": "30"}


def token_in(page: str) -> str:
    found = re.search(r"tsd_[0-9A-Za-z]{49}", page)
    assert found
    return found.group()


def test_a_new_device_page_shows_its_token_once(owner_client: Client) -> None:
    response = owner_client.post("/devices/new", FORM)
    token = token_in(response.content.decode())
    device = Device.objects.get(user__username="owner")
    assert (device.name, device.device_type, device.expected_interval) == ("mast", "weather", 30)
    assert DeviceToken.objects.get().token_hash == token_format.PlaintextToken(token).digest
    assert token not in owner_client.get(f"/devices/{device.pk}").content.decode()


def test_the_displayed_token_is_accepted(owner_client: Client) -> None:
    page = owner_client.post("/devices/new", FORM).content.decode()
    reading = {"telemetry_type": "environment", "payload": {"temperature": 21.4}}
    response = Api(token_in(page)).post("/api/v1/device/telemetry", reading)
    assert response.status_code == 201


def test_the_token_is_not_stored_in_a_session(owner_client: Client) -> None:
    token = token_in(owner_client.post("/devices/new", FORM).content.decode())
    assert all(token not in str(SessionStore().decode(row.data)) for row in Session.objects.all())


def test_the_curl_command_has_the_public_url(owner_client: Client, settings: object) -> None:
    settings.PUBLIC_URL = "https://telemetry.example"  # type: ignore[attr-defined]
    page = owner_client.post("/devices/new", FORM).content.decode()
    assert "curl -X POST https://telemetry.example/api/v1/device/telemetry" in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " "),
        ("name", "x" * 201),
        ("name", "a\0b"),
        ("device_type", ""),
        ("expected_interval", "0"),
        ("expected_interval", "often"),
        ("expected_interval", "99999999999999999999"),
    ],
)
def test_an_invalid_device_is_422_with_an_error_at_its_field(
    owner_client: Client, field: str, value: str
) -> None:
    response = owner_client.post("/devices/new", {**FORM, field: value})
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in response.content.decode()
    assert not Device.objects.exists()


def test_a_new_device_belongs_to_the_signed_in_user(
    owner_client: Client, stranger_client: Client
) -> None:
    owner_client.post("/devices/new", {**FORM, "user": "stranger"})
    assert Device.objects.get().user.username == "owner"
    assert "mast" not in stranger_client.get("/").content.decode()


def test_the_page_shows_the_first_reading_when_it_arrives(
    owner_client: Client, device: Device, device_api: Api
) -> None:
    path = f"/devices/{device.pk}/first"
    assert "Waiting for the first reading" in owner_client.get(path).content.decode()
    device_api.post("/api/v1/device/telemetry", {"telemetry_type": "t", "payload": {"a": 1.5}})
    assert "a = 1.5" in owner_client.get(path).content.decode()


def test_the_page_shows_a_checklist_after_a_minute_without_readings(
    owner_client: Client, device: Device
) -> None:
    path = f"/devices/{device.pk}/first"
    assert "401: the token" not in owner_client.get(path).content.decode()
    Device.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert "401: the token" in owner_client.get(path).content.decode()


class TestConnectPage:
    def test_the_connect_page_creates_a_token_on_post_only(
        self, owner_client: Client, device: Device
    ) -> None:
        path = f"/devices/{device.pk}/connect"
        page = owner_client.get(path).content.decode()
        assert "YOUR_TOKEN" in page
        assert not device.tokens.exists()
        page = owner_client.post(path).content.decode()
        assert device.tokens.get().token_hash == token_format.PlaintextToken(token_in(page)).digest
        assert 'class="qr"' in page
        assert "YOUR_TOKEN" not in page

    def test_the_connect_page_over_the_token_limit_is_422(
        self, owner_client: Client, device: Device
    ) -> None:
        for _ in range(site_settings.TOKENS_PER_DEVICE):
            device_services.issue_token(device)
        response = owner_client.post(f"/devices/{device.pk}/connect")
        assert response.status_code == 422
        assert f"already has {site_settings.TOKENS_PER_DEVICE} tokens" in response.content.decode()

    @pytest.mark.parametrize("path", ["connect", "settings", "delete"])
    def test_a_device_of_another_user_is_404(
        self, stranger_client: Client, device: Device, path: str
    ) -> None:
        form = {**FORM, "delete-confirmed_name": "greenhouse"}
        response = stranger_client.post(f"/devices/{device.pk}/{path}", form)
        assert response.status_code == 404
        device.refresh_from_db()
        assert (device.name, device.deleted_at) == ("greenhouse", None)
        assert not device.tokens.exists()


class TestSettingsPage:
    def test_the_settings_of_a_device_are_changed(
        self, owner_client: Client, device: Device
    ) -> None:
        path = f"/devices/{device.pk}/settings"
        assert 'value="greenhouse"' in owner_client.get(path).content.decode()
        response = owner_client.post(path, {**FORM, "metadata": '{"room": "attic"}'})
        assert response.headers["Location"] == f"/devices/{device.pk}"
        device.refresh_from_db()
        assert (device.name, device.device_type, device.expected_interval) == (
            "mast",
            "weather",
            30,
        )
        assert device.metadata == {"room": "attic"}
        assert "attic" in owner_client.get(path).content.decode()

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("name", "", "This field is required."),
            ("metadata", "{", "at byte"),
            ("metadata", "[]", "Must be a JSON object."),
            ("metadata", '{"a": {"b": NaN}}', "At /a/b: NaN"),
        ],
    )
    def test_an_invalid_setting_is_422_with_an_error_at_its_field(
        self, owner_client: Client, device: Device, field: str, value: str, message: str
    ) -> None:
        path = f"/devices/{device.pk}/settings"
        response = owner_client.post(path, {**FORM, field: value})
        assert response.status_code == 422
        assert f'id="id_{field}_error"' in response.content.decode()
        assert message in response.content.decode()
        device.refresh_from_db()
        assert (device.name, device.metadata) == ("greenhouse", {})

    def test_a_device_is_deleted_after_its_name_is_typed(
        self, owner_client: Client, device: Device
    ) -> None:
        path = f"/devices/{device.pk}/delete"
        wrong = owner_client.post(path, {"delete-confirmed_name": "Greenhouse"})
        assert wrong.status_code == 422
        assert "This is not the device&#x27;s name." in wrong.content.decode()
        assert owner_client.get(f"/devices/{device.pk}").status_code == 200
        assert owner_client.get(path).status_code == 405
        right = owner_client.post(path, {"delete-confirmed_name": "greenhouse"})
        assert right.headers["Location"] == "/"
        assert owner_client.get(f"/devices/{device.pk}").status_code == 404
