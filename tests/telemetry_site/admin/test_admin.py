"""The admin: every page opens for staff only, and every write goes through the services."""

import html
import re

import pytest
from django.contrib import admin
from django.test import Client

from accounts.models import User
from devices.models import Device
from telemetry.models import RetentionRule, Telemetry
from tests.conftest import Api
from tests.factories import CommandFactory, device_token, store_reading, store_readings, user_token

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
LISTS = [f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in MODELS]


def test_every_important_table_is_in_the_admin() -> None:
    # Tokens of devices are on the page of their device.
    ours = {"accounts.User", "accounts.Token", "devices.Device", "telemetry.Telemetry"}
    ours |= {
        "commands.Command",
        "commands.CommandBatch",
        "commands.CommandType",
        "telemetry.RetentionRule",
    }
    assert ours <= {model._meta.label for model in MODELS}


@pytest.mark.parametrize("path", ["/admin/", *LISTS])
def test_staff_can_open_every_list(staff_client: Client, device: Device, path: str) -> None:
    CommandFactory.create(device=device)
    store_reading(device)
    assert staff_client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/admin/", *LISTS])
def test_users_who_are_not_staff_are_redirected_to_the_login(
    owner_client: Client, path: str
) -> None:
    answer = owner_client.get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_no_page_contains_a_token_hash(staff_client: Client, owner: User, device: Device) -> None:
    user_token(owner)
    device_token(device)
    token = owner.tokens.get()
    pages = [
        f"/admin/accounts/token/{token.pk}/change/",
        f"/admin/devices/device/{device.pk}/change/",
    ]
    for path in pages:
        page = staff_client.get(path)
        assert page.status_code == 200
        for secret in (token.token_hash, device.tokens.get().token_hash):
            assert bytes(secret).hex() not in page.content.decode()
            assert repr(bytes(secret)) not in page.content.decode()


class TestDevices:
    fields = {"name": "pump", "device_type": "pump", "expected_interval": 60, "metadata": "{}"}
    inline = {"tokens-TOTAL_FORMS": 0, "tokens-INITIAL_FORMS": 0}

    def add(self, client: Client, owner: User, **fields: object) -> str:
        body = {**self.fields, **self.inline, "user": owner.pk, **fields}
        return client.post("/admin/devices/device/add/", body).content.decode()

    def test_a_created_device_works_with_the_token_that_is_displayed_once(
        self, staff_client: Client, owner: User
    ) -> None:
        found = re.search(r"tsd_[0-9A-Za-z]{49}", self.add(staff_client, owner))
        assert found is not None
        assert Api(found[0]).get("/api/v1/device").json()["name"] == "pump"
        page = staff_client.get(f"/admin/devices/device/{Device.objects.get().pk}/change/")
        assert found[0] not in page.content.decode()

    def test_metadata_with_a_nul_byte_is_rejected(self, staff_client: Client, owner: User) -> None:
        page = self.add(staff_client, owner, metadata='{"a": "\\u0000"}')
        assert "A NUL character cannot be stored." in page
        assert not Device.objects.exists()

    def test_a_changed_name_is_stored(
        self, staff_client: Client, device: Device, owner: User
    ) -> None:
        path = f"/admin/devices/device/{device.pk}/change/"
        staff_client.post(path, {**self.fields, **self.inline, "user": owner.pk, "name": "renamed"})
        device.refresh_from_db()
        assert device.name == "renamed"

    def test_deleting_a_device_is_a_soft_delete(
        self, staff_client: Client, device: Device, device_api: Api
    ) -> None:
        store_reading(device)
        path = f"/admin/devices/device/{device.pk}/delete/"
        assert b"with all its readings" in staff_client.get(path).content
        staff_client.post(path, {"post": "yes"})
        device.refresh_from_db()
        assert device.deleted_at is not None
        assert device_api.get("/api/v1/device").status_code == 401

    def test_rotating_a_token_displays_the_new_one_and_keeps_the_old_one_valid(
        self, staff_client: Client, device: Device, device_api: Api
    ) -> None:
        body = {"action": "rotate_tokens", "_selected_action": [str(device.pk)]}
        assert b"tsd_" not in staff_client.post("/admin/devices/device/", body).content
        body["confirmed"] = "yes"
        page = staff_client.post("/admin/devices/device/", body).content.decode()
        found = re.search(r"tsd_[0-9A-Za-z]{49}", page)
        assert found is not None
        assert Api(found[0]).get("/api/v1/device").status_code == 200
        assert device_api.get("/api/v1/device").status_code == 200
        assert device.tokens.get(replaced_by=None).prefix == found[0][:8]


class TestTelemetry:
    def test_readings_are_listed_only_for_a_selected_device(
        self, staff_client: Client, device: Device
    ) -> None:
        store_reading(device, telemetry_type="soil")
        path = "/admin/telemetry/telemetry/"
        assert b"soil" not in staff_client.get(path).content
        assert b"soil" in staff_client.get(f"{path}?device={device.pk}").content

    @pytest.mark.parametrize("query", ["device=x", "payload__a__regex=(", "o=1", "cursor=x"])
    def test_an_invalid_query_is_no_server_error(
        self, staff_client: Client, device: Device, query: str
    ) -> None:
        for chosen in ("", f"&device={device.pk}"):
            answer = staff_client.get(f"/admin/telemetry/telemetry/?{query}{chosen}")
            assert answer.status_code < 500

    def test_readings_are_paged_forward_and_back(
        self, staff_client: Client, device: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("telemetry.admin.PER_PAGE", 2)
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        path = "/admin/telemetry/telemetry/"
        seen, query = [], f"?device={device.pk}"
        while query:
            page = staff_client.get(path + query).context
            seen.append([reading.payload["n"] for reading in page["readings"]])
            query = page.get("older")
        assert seen == [[4, 3], [2, 1], [0]]
        back = staff_client.get(path + page["newer"]).context
        assert [reading.payload["n"] for reading in back["readings"]] == [2, 1]
        first = staff_client.get(path + back["newer"]).context
        assert [reading.payload["n"] for reading in first["readings"]] == [4, 3]
        assert "newer" not in first
        assert staff_client.get(path + first["older"]).context["readings"] == back["readings"]

    def test_readings_cannot_be_written(self, staff_client: Client, device: Device) -> None:
        reading = store_reading(device)
        base = "/admin/telemetry/telemetry/"
        for path in (f"{base}add/", f"{base}{reading.pk}/change/", f"{base}{reading.pk}/delete/"):
            assert staff_client.post(path, {"post": "yes"}).status_code == 404


class TestRetention:
    path = "/admin/telemetry/retentionrule/"

    def test_a_new_rule_is_stored_and_the_list_shows_what_has_expired(
        self, staff_client: Client, device: Device
    ) -> None:
        store_readings(device, payloads=[{"n": number} for number in range(3)])
        body = {"device": device.pk, "raw_days": 30, "hour_days": 365}
        page = staff_client.post(f"{self.path}add/", body, follow=True).content.decode()
        assert "the device greenhouse: 3 readings before " in page
        assert "These periods will be deleted completely:" in page
        assert '<td class="field-daily_values">forever</td>' in page
        assert Telemetry.objects.count() == 3

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"device_type": "pump", "device": True}, "not for both"),
            ({"raw_days": 0}, "The shortest age is one day."),
            ({"raw_days": -1}, "greater than or equal to 0"),
            ({"raw_days": 2**31}, "less than or equal to"),
            ({"raw_days": 30, "hour_days": 7}, "at least as long as readings"),
        ],
    )
    def test_an_invalid_rule_shows_an_error(
        self, staff_client: Client, device: Device, body: dict[str, object], words: str
    ) -> None:
        body = {**body, "device": device.pk} if body.get("device") else body
        page = staff_client.post(f"{self.path}add/", body).content.decode()
        assert words in html.unescape(page)
        assert not RetentionRule.objects.exists()

    def test_without_a_rule_the_list_says_that_everything_is_kept(
        self, staff_client: Client
    ) -> None:
        assert b"All data is kept forever" in staff_client.get(self.path).content
