"""Adding a device in the browser."""

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


def test_a_device_is_added_and_its_token_shown_once(owner_client: Client) -> None:
    answer = owner_client.post("/devices/new", FORM)
    token = token_in(answer.content.decode())
    device = Device.objects.get(user__username="owner")
    assert (device.name, device.device_type, device.expected_interval) == ("mast", "weather", 30)
    assert DeviceToken.objects.get().token_hash == token_format.PlaintextToken(token).digest
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


def test_after_a_minute_there_is_a_list_of_what_may_be_wrong(
    owner_client: Client, device: Device
) -> None:
    path = f"/devices/{device.pk}/first"
    assert "401: the token" not in owner_client.get(path).content.decode()
    Device.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert "401: the token" in owner_client.get(path).content.decode()


class TestConnecting:
    def test_a_known_device_gets_one_more_token_when_it_is_asked_for(
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

    def test_no_more_tokens_than_there_may_be(self, owner_client: Client, device: Device) -> None:
        for _ in range(site_settings.TOKENS_PER_DEVICE):
            device_services.issue_token(device)
        answer = owner_client.post(f"/devices/{device.pk}/connect")
        assert answer.status_code == 422
        assert "may have no more" in answer.content.decode()

    @pytest.mark.parametrize("path", ["connect", "settings", "delete"])
    def test_a_stranger_finds_nothing(
        self, stranger_client: Client, device: Device, path: str
    ) -> None:
        form = {**FORM, "delete-typed": "greenhouse"}
        answer = stranger_client.post(f"/devices/{device.pk}/{path}", form)
        assert answer.status_code == 404
        device.refresh_from_db()
        assert (device.name, device.deleted_at) == ("greenhouse", None)
        assert not device.tokens.exists()


class TestSettings:
    def test_what_is_known_is_changed(self, owner_client: Client, device: Device) -> None:
        path = f"/devices/{device.pk}/settings"
        assert 'value="greenhouse"' in owner_client.get(path).content.decode()
        answer = owner_client.post(path, {**FORM, "metadata": '{"room": "attic"}'})
        assert answer.headers["Location"] == f"/devices/{device.pk}"
        device.refresh_from_db()
        assert (device.name, device.device_type, device.expected_interval) == (
            "mast",
            "weather",
            30,
        )
        assert device.metadata == {"room": "attic"}
        assert "attic" in owner_client.get(path).content.decode()

    @pytest.mark.parametrize(
        ("field", "typed", "words"),
        [
            ("name", "", "This field is required."),
            ("metadata", "{", "at byte"),
            ("metadata", "[]", "Must be a JSON object."),
            ("metadata", '{"a": {"b": NaN}}', "At /a/b: NaN"),
        ],
    )
    def test_what_cannot_be_is_told_at_its_field(
        self, owner_client: Client, device: Device, field: str, typed: str, words: str
    ) -> None:
        path = f"/devices/{device.pk}/settings"
        answer = owner_client.post(path, {**FORM, field: typed})
        assert answer.status_code == 422
        assert f'id="id_{field}_error"' in answer.content.decode()
        assert words in answer.content.decode()
        device.refresh_from_db()
        assert (device.name, device.metadata) == ("greenhouse", {})

    def test_a_device_is_deleted_by_whoever_types_its_name(
        self, owner_client: Client, device: Device
    ) -> None:
        path = f"/devices/{device.pk}/delete"
        wrong = owner_client.post(path, {"delete-typed": "Greenhouse"})
        assert wrong.status_code == 422
        assert "This is not its name." in wrong.content.decode()
        assert owner_client.get(f"/devices/{device.pk}").status_code == 200
        assert owner_client.get(path).status_code == 405
        right = owner_client.post(path, {"delete-typed": "greenhouse"})
        assert right.headers["Location"] == "/"
        assert owner_client.get(f"/devices/{device.pk}").status_code == 404
