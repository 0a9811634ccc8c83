from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.conf import settings

from tests.conftest import Api
from tests.devices.paths import device_path
from tests.factories import device_token
from tests.problems import error_pointers

DEVICES = "/api/v1/devices"


def names(response):
    assert response.status_code == 200, response.content
    return [device["name"] for device in response.json()["results"]]


class TestCreation:
    def test_a_new_device_is_returned_with_its_token(self, owner, owner_api):
        response = owner_api.post(
            DEVICES, {"name": "greenhouse", "device_type": "esp32", "metadata": {"room": "north"}}
        )
        assert response.status_code == 201
        made = response.json()
        token = made.pop("token")
        assert made == owner_api.get(f"/api/v1/devices/{made['id']}").json()
        assert made["name"] == "greenhouse"
        assert made["device_type"] == "esp32"
        assert made["metadata"] == {"room": "north"}
        assert made["status"] == "offline"
        assert made["expected_interval"] == 60
        assert made["last_seen_at"] is None
        assert Api(token).get("/api/v1/device").json()["id"] == made["id"]
        assert owner.devices.get().pk.hex == made["id"].replace("-", "")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/name"),
            ({"name": ""}, "/name"),
            ({"name": "   "}, "/name"),
            ({"name": None}, "/name"),
            ({"name": "x" * 201}, "/name"),
            ({"name": ["x"]}, "/name"),
            ({"name": "a\0b"}, "/name"),
            ({"name": "\ud800"}, "/name"),
            ({"name": "x", "device_type": ""}, "/device_type"),
            ({"name": "x", "metadata": {"a": {"b": "\0"}}}, "/metadata/a/b"),
            ({"name": "x", "metadata": {"a\0": 1}}, "/metadata/a\\u0000"),
            ({"name": "x", "metadata": []}, "/metadata"),
            ({"name": "x", "metadata": None}, "/metadata"),
            ({"name": "x", "metadata": "{}"}, "/metadata"),
            ({"name": "x", "metadata": {"a": "x" * 17_000}}, "/metadata"),
            ({"name": "x", "expected_interval": 0}, "/expected_interval"),
            ({"name": "x", "expected_interval": 2**53}, "/expected_interval"),
            ({"name": "x", "expected_interval": "soon"}, "/expected_interval"),
            ({"name": "x", "expected_interval": 1.5}, "/expected_interval"),
            ({"name": "x", "user": str(uuid4())}, "/user"),
            ({"name": "x", "status": "online"}, "/status"),
            ({"name": "x", "id": str(uuid4())}, "/id"),
            ({"name": "x", "last_seen_at": None}, "/last_seen_at"),
            ({"name": "x", "a\0/b": 1}, "/a\\u0000~1b"),
            ([{"name": "x"}], ""),
            ("x", ""),
            (None, "/name"),
        ],
    )
    def test_an_invalid_device_is_422_with_a_pointer_and_not_stored(
        self, owner, owner_api, body, pointer
    ):
        assert pointer in error_pointers(owner_api.post(DEVICES, body))
        assert not owner.devices.exists()

    def test_a_name_may_contain_any_characters(self, owner_api):
        name = "<script>alert(1)</script> \N{GRINNING FACE} '\"; DROP TABLE devices; --"
        assert owner_api.post(DEVICES, {"name": name}).json()["name"] == name

    def test_a_device_token_cannot_create_devices(self, device_api):
        assert device_api.post(DEVICES, {"name": "x"}).status_code == 403


class TestDetail:
    def test_a_device_is_returned_with_its_public_fields_only(self, device, owner_api):
        assert set(owner_api.get(device_path(device)).json()) == {
            "id", "name", "device_type", "status", "metadata", "expected_interval",
            "last_seen_at", "created_at", "updated_at",
        }  # fmt: skip

    def test_a_patch_changes_only_the_given_fields(self, device, owner_api):
        response = owner_api.patch(device_path(device), {"name": "shed"})
        assert response.status_code == 200
        assert response.json()["name"] == "shed"
        device.refresh_from_db()
        assert (device.name, device.expected_interval) == ("shed", 60)

    def test_a_patch_replaces_the_whole_metadata(self, device, owner_api):
        owner_api.patch(device_path(device), {"metadata": {"a": 1, "b": 2}})
        owner_api.patch(device_path(device), {"metadata": {"a": {"c": 3}}})
        assert owner_api.get(device_path(device)).json()["metadata"] == {"a": {"c": 3}}

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"name": ""}, "/name"),
            ({"status": "online"}, "/status"),
            ({"metadata": {"a": "\0"}}, "/metadata/a"),
            ({"metadata": []}, "/metadata"),
            ({"user": 1}, "/user"),
            ([], ""),
        ],
    )
    def test_an_invalid_patch_is_422_and_changes_nothing(self, device, owner_api, body, pointer):
        before = owner_api.get(device_path(device)).json()
        assert pointer in error_pointers(owner_api.patch(device_path(device), body))
        assert owner_api.get(device_path(device)).json() == before

    def test_a_deleted_device_is_404_and_its_token_401(self, device, owner_api):
        api = Api(device_token(device))
        assert owner_api.delete(device_path(device)).status_code == 204
        assert owner_api.get(device_path(device)).status_code == 404
        assert owner_api.delete(device_path(device)).status_code == 404
        assert names(owner_api.get(DEVICES)) == []
        assert api.get("/api/v1/device").status_code == 401
        reading = {"telemetry_type": "a", "payload": {"a": 1}}
        assert api.post("/api/v1/device/telemetry", reading).status_code == 401

    def test_a_device_reads_its_own_data_and_becomes_online(self, device, device_api):
        response = device_api.get("/api/v1/device")
        assert response.status_code == 200
        body = response.json()
        assert set(body) == {"id", "name", "pending_commands", "server_time", "live_url"}
        assert body["live_url"] == f"http://testserver:{settings.LIVE_PORT}"
        assert response.json()["name"] == "greenhouse"
        age = datetime.now(UTC) - datetime.fromisoformat(response.json()["server_time"])
        assert abs(age.total_seconds()) < 60
        device.refresh_from_db()
        assert device.status == "online"

    def test_the_device_endpoint_is_403_for_a_user_token(self, owner_api):
        assert owner_api.get("/api/v1/device").status_code == 403

    def test_a_device_token_is_403_for_the_endpoints_of_the_owner(self, device, device_api):
        assert device_api.get(device_path(device)).status_code == 403
        assert device_api.patch(device_path(device), {"name": "x"}).status_code == 403
        assert device_api.delete(device_path(device)).status_code == 403
        assert device_api.post(f"{device_path(device)}/tokens/rotate").status_code == 403
