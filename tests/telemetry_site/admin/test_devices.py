"""What staff do to devices from the admin's list, and what the trail says of it."""

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client

from accounts.models import AuditEvent, User
from devices.models import Device
from telemetry.retention import purge
from tests.conftest import signed_in
from tests.factories import DeviceFactory, store_readings
from tests.telemetry_site.pages import path_of

pytestmark = pytest.mark.django_db


class TestDevices:
    def act(self, client: Client, action: str, *devices: Device, **more: Any) -> Any:
        body = {"action": action, "_selected_action": [one.pk for one in devices], **more}
        return client.post("/admin/devices/device/", body, follow=True)

    def test_a_deactivated_device_is_refused_until_it_is_reactivated(
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

    def test_a_new_owner_sees_it_and_the_old_one_does_not(
        self, staff_client: Client, device: Device, owner_client: Client, stranger: User
    ) -> None:
        assert b"New owner" in self.act(staff_client, "change_owner", device).content
        nobody = self.act(staff_client, "change_owner", device, confirmed="yes", user="x")
        assert nobody.status_code == 422
        self.act(staff_client, "change_owner", device, confirmed="yes", user=stranger.pk)
        assert owner_client.get(f"/devices/{device.pk}").status_code == 404
        assert signed_in(stranger).get(f"/devices/{device.pk}").status_code == 200

    def test_a_purge_answers_at_once_and_says_how_far_it_is(
        self, staff_client: Client, device: Device, owner: User
    ) -> None:
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        devices = [device, *DeviceFactory.create_batch(99, user=owner)]
        asked = self.act(staff_client, "purge", *devices)
        assert b"and 80 more" in asked.content
        self.act(staff_client, "purge", *devices, confirmed="yes")
        assert Device.objects.filter(deleted_at=None).count() == 0
        page = staff_client.get("/admin/devices/device/purging/").content.decode()
        assert "100 devices are still to be removed" in page
        purge.purge_deleted()
        page = staff_client.get("/admin/devices/device/purging/").content.decode()
        assert "Nothing is left to be removed." in page
        assert not Device.objects.exists()

    def test_more_than_can_be_named_are_too_many(
        self, staff_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "common.admin.confirmation.selected_or_error.__kwdefaults__", {"limit": 2}
        )
        devices = DeviceFactory.create_batch(3, user=owner)
        page = self.act(staff_client, "purge", *devices, confirmed="yes")
        assert b"At most 2 at once." in page.content
        assert Device.objects.filter(deleted_at=None).count() == 3

    def test_metadata_is_shown_readable_and_read_strictly(
        self, staff_client: Client, device: Device
    ) -> None:
        path = f"/admin/devices/device/{device.pk}/change/"
        Device.objects.filter(pk=device.pk).update(metadata={"rack": {"slot": 4}})
        page = staff_client.get(path).content.decode()
        assert "{\n  &quot;rack&quot;: {\n    &quot;slot&quot;: 4\n  }\n}" in page
        body = {"name": "a", "device_type": "b", "expected_interval": 60}
        inline = {"tokens-TOTAL_FORMS": 0, "tokens-INITIAL_FORMS": 0}
        for typed, words in [
            ("{", "Not JSON"),
            ('{"a": 1, "a": 2}', "A key is given more than once."),
            ("[1]", "Must be a JSON object."),
        ]:
            page = staff_client.post(path, {**body, **inline, "metadata": typed}).content.decode()
            assert words in page
        staff_client.post(path, {**body, **inline, "metadata": '{"a": {"b": 1}}'})
        device.refresh_from_db()
        assert device.metadata == {"a": {"b": 1}}


def test_what_staff_do_to_devices_and_people_is_in_the_trail(
    staff_client: Client, owner: User, device: Device, stranger: User
) -> None:
    def act(table: str, action: str, row: Model, **more: Any) -> None:
        body = {"action": action, "_selected_action": row.pk, "confirmed": "yes", **more}
        staff_client.post(path_of(table), body)

    for action in ("deactivate", "reactivate"):
        act("accounts.user", action, owner)
        act("devices.device", action, device)
        # What is so already is no event.
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
