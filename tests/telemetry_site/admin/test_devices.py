"""Actions of staff on devices in the list of the admin, and their audit events."""

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client

from accounts.models import AuditEvent, User
from devices.models import Device
from telemetry.retention import purge
from tests.conftest import signed_in
from tests.factories import DeviceFactory, store_readings
from tests.telemetry_site.pages import admin_path

pytestmark = pytest.mark.django_db


class TestDevices:
    def act(self, client: Client, action: str, *devices: Device, **more: Any) -> Any:
        body = {"action": action, "_selected_action": [one.pk for one in devices], **more}
        return client.post("/admin/devices/device/", body, follow=True)

    def test_requests_of_a_deactivated_device_are_rejected_until_it_is_reactivated(
        self, staff_client: Client, device: Device, device_api: Any
    ) -> None:
        assert device_api.get("/api/v1/device").status_code == 200
        assert b"greenhouse" in self.act(staff_client, "deactivate", device).content
        assert device_api.get("/api/v1/device").status_code == 200
        self.act(staff_client, "deactivate", device, confirmed="yes")
        reading = {"telemetry_type": "a", "payload": {"b": 1}}
        assert device_api.get("/api/v1/device").status_code == 401
        assert device_api.post("/api/v1/device/telemetry", reading).status_code == 401
        again = self.act(staff_client, "deactivate", device, confirmed="yes")
        assert b"0 devices." in again.content
        self.act(staff_client, "reactivate", device, confirmed="yes")
        assert device_api.post("/api/v1/device/telemetry", reading).status_code == 201

    def test_a_transferred_device_is_visible_only_to_its_new_owner(
        self, staff_client: Client, device: Device, owner_client: Client, stranger: User
    ) -> None:
        assert b"New owner" in self.act(staff_client, "change_owner", device).content
        rejected = self.act(staff_client, "change_owner", device, confirmed="yes", user="x")
        assert rejected.status_code == 422
        self.act(staff_client, "change_owner", device, confirmed="yes", user=stranger.pk)
        assert owner_client.get(f"/devices/{device.pk}").status_code == 404
        assert signed_in(stranger).get(f"/devices/{device.pk}").status_code == 200

    def test_a_purge_starts_in_the_background_and_shows_its_progress(
        self, staff_client: Client, device: Device, owner: User
    ) -> None:
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        devices = [device, *DeviceFactory.create_batch(99, user=owner)]
        asked = self.act(staff_client, "purge", *devices)
        assert b"and 80 more" in asked.content
        self.act(staff_client, "purge", *devices, confirmed="yes")
        assert Device.objects.filter(deleted_at=None).count() == 0
        page = staff_client.get("/admin/devices/device/purging/").content.decode()
        assert "100 devices and their data are waiting" in page
        purge.purge_deleted()
        page = staff_client.get("/admin/devices/device/purging/").content.decode()
        assert "The deletion queue is empty." in page
        assert not Device.objects.exists()

    def test_more_devices_than_the_limit_of_an_action_are_rejected(
        self, staff_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "common.admin.confirmation.selected_or_error.__kwdefaults__", {"limit": 2}
        )
        devices = DeviceFactory.create_batch(3, user=owner)
        page = self.act(staff_client, "purge", *devices, confirmed="yes")
        assert b"Select at most 2 rows." in page.content
        assert Device.objects.filter(deleted_at=None).count() == 3

    def test_metadata_is_displayed_indented_and_parsed_strictly(
        self, staff_client: Client, device: Device
    ) -> None:
        path = f"/admin/devices/device/{device.pk}/change/"
        Device.objects.filter(pk=device.pk).update(metadata={"rack": {"slot": 4}})
        page = staff_client.get(path).content.decode()
        assert "{\n  &quot;rack&quot;: {\n    &quot;slot&quot;: 4\n  }\n}" in page
        body = {"name": "a", "device_type": "b", "expected_interval": 60}
        inline = {"tokens-TOTAL_FORMS": 0, "tokens-INITIAL_FORMS": 0}
        for typed, words in [
            ("{", "Invalid JSON"),
            ('{"a": 1, "a": 2}', "A key occurs more than once."),
            ("[1]", "Must be a JSON object."),
        ]:
            page = staff_client.post(path, {**body, **inline, "metadata": typed}).content.decode()
            assert words in page
        staff_client.post(path, {**body, **inline, "metadata": '{"a": {"b": 1}}'})
        device.refresh_from_db()
        assert device.metadata == {"a": {"b": 1}}


def test_actions_of_staff_on_devices_and_users_are_in_the_audit_trail(
    staff_client: Client, owner: User, device: Device, stranger: User
) -> None:
    def act(table: str, action: str, row: Model, **more: Any) -> None:
        body = {"action": action, "_selected_action": row.pk, "confirmed": "yes", **more}
        staff_client.post(admin_path(table), body)

    for action in ("deactivate", "reactivate"):
        act("accounts.user", action, owner)
        act("devices.device", action, device)
        # A deactivated device is not deactivated again: no event.
        act("devices.device", action, device)
    act("devices.device", "change_owner", device, user=stranger.pk)
    act("devices.device", "purge", device)
    events = AuditEvent.objects.filter(actor_name="staff").order_by("created_at", "id")
    assert list(events.values_list("action", flat=True)) == [
        "user.deactivated",
        "device.deactivated",
        "user.reactivated",
        "device.reactivated",
        "device.given",
        "device.decommissioned",
    ]
    given = events.get(action="device.given")
    assert (given.before, given.after) == ({"user": "owner"}, {"user": "stranger"})
