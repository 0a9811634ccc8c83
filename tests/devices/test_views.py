"""Adding a device in the browser."""

import re

import pytest
from django.test import Client

from accounts import secrets
from accounts.models import Session
from accounts.sessions import SessionStore
from devices.models import Device, DeviceToken
from tests.conftest import Api

FORM = {"name": "mast", "device_type": "weather", "expected_interval": "30"}


def token_in(page: str) -> str:
    found = re.search(r"tsd_[0-9A-Za-z]{49}", page)
    assert found
    return found.group()


def test_a_device_is_added_and_its_token_shown_once(owner_client: Client) -> None:
    answer = owner_client.post("/devices/new", FORM)
    token = token_in(answer.content.decode())
    device = Device.objects.get(user__username="owner")
    assert (device.name, device.device_type, device.expected_interval) == ("mast", "weather", 30)
    assert DeviceToken.objects.get().token_hash == secrets.Secret(token).digest
    assert token not in owner_client.get(f"/devices/{device.pk}").content.decode()


def test_the_shown_token_sends_readings(owner_client: Client) -> None:
    page = owner_client.post("/devices/new", FORM).content.decode()
    reading = {"telemetry_type": "environment", "payload": {"temperature": 21.4}}
    answer = Api(token_in(page)).post("/api/v1/device/telemetry", reading)
    assert answer.status_code == 201


def test_the_token_is_in_no_session(owner_client: Client) -> None:
    token = token_in(owner_client.post("/devices/new", FORM).content.decode())
    assert all(token not in str(SessionStore().decode(row.data)) for row in Session.objects.all())


def test_the_line_to_paste_names_this_site(owner_client: Client, settings: object) -> None:
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
def test_what_cannot_be_a_device_is_refused_at_its_field(
    owner_client: Client, field: str, value: str
) -> None:
    answer = owner_client.post("/devices/new", {**FORM, field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert not Device.objects.exists()


def test_a_new_device_belongs_to_who_added_it(
    owner_client: Client, stranger_client: Client
) -> None:
    owner_client.post("/devices/new", {**FORM, "user": "stranger"})
    assert Device.objects.get().user.username == "owner"
    assert "mast" not in stranger_client.get("/").content.decode()


def test_the_first_reading_is_awaited_and_then_shown(
    owner_client: Client, device: Device, device_api: Api
) -> None:
    path = f"/devices/{device.pk}/first"
    assert "Waiting for the first reading" in owner_client.get(path).content.decode()
    device_api.post("/api/v1/device/telemetry", {"telemetry_type": "t", "payload": {"a": 1.5}})
    assert "a = 1.5" in owner_client.get(path).content.decode()
