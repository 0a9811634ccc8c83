"""Commands in the admin: send to one or several devices, cancel, send again."""

import re

import pytest
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.models import User
from commands.models import Command, CommandBatch, CommandType
from devices.models import Device
from tests.factories import (
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    UserFactory,
    issue_batch,
)

pytestmark = pytest.mark.django_db


class TestCommands:
    path = "/admin/commands/command/add/"

    def send(self, client: Client, device: Device, name: str, payload: str) -> str:
        body = {"device": device.pk, "command_name": name, "payload": payload}
        return client.post(self.path, body, follow=True).content.decode()

    def test_a_command_is_created_with_its_payload_and_sender(
        self, staff_client: Client, staff: User, device: Device
    ) -> None:
        self.send(staff_client, device, "reboot", '{"delay": 5}')
        command = Command.objects.get()
        assert (command.payload, command.issued_by) == ({"delay": 5}, staff)

    def test_a_payload_that_violates_the_schema_shows_the_error_at_its_field(
        self, staff_client: Client, device: Device
    ) -> None:
        CommandType.objects.create(
            device_type=device.device_type,
            command_name="reboot",
            title="Reboot",
            payload_schema={"properties": {"delay": {"type": "integer"}}},
        )
        page = self.send(staff_client, device, "reboot", '{"delay": "soon"}')
        assert "delay Must be of type integer." in page
        assert not Command.objects.exists()

    def test_a_full_queue_shows_an_error(
        self, staff_client: Client, device: Device, settings: pytest.FixtureRequest
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        self.send(staff_client, device, "reboot", "{}")
        assert "Too many pending commands" in self.send(staff_client, device, "reboot", "{}")

    def test_of_the_selected_commands_the_pending_ones_are_cancelled(
        self, staff_client: Client, device: Device
    ) -> None:
        pending = CommandFactory.create(device=device)
        done = CommandFactory.create(device=device, status="executed", executed_at=timezone.now())
        body = {"action": "cancel", "_selected_action": [str(pending.pk), str(done.pk)]}
        page = staff_client.post("/admin/commands/command/", body, follow=True)
        assert b"1 cancelled." in page.content
        pending.refresh_from_db()
        assert pending.reason == "cancelled"

    @pytest.mark.parametrize(
        ("schema", "words"),
        [
            ('{"type": "nonsense"}', "is not valid"),
            ('{"$ref": "https://example.org/s"}', "only point into the same schema"),
        ],
    )
    def test_an_invalid_schema_is_rejected(
        self, staff_client: Client, schema: str, words: str
    ) -> None:
        body = {"device_type": "pump", "command_name": "go", "title": "Go", "default_expiry": 60}
        page = staff_client.post(
            "/admin/commands/commandtype/add/", {**body, "payload_schema": schema}
        )
        assert words in page.content.decode()
        assert not CommandType.objects.exists()

    def test_of_the_selected_commands_the_finished_ones_are_sent_again(
        self, staff_client: Client, staff: User, device: Device
    ) -> None:
        old = CommandFactory.create(device=device, status="failed", reason="device")
        pending = CommandFactory.create(device=device)
        body = {"action": "send_again", "_selected_action": [str(old.pk), str(pending.pk)]}
        page = staff_client.post("/admin/commands/command/", body, follow=True)
        assert b"1 of 2 commands sent again." in page.content
        assert Command.objects.get(retry_of=old).issued_by == staff

    def test_the_page_of_a_command_shows_all_its_fields(
        self, staff_client: Client, device: Device
    ) -> None:
        command = CommandFactory.create(device=device, late=True)
        page = staff_client.get(f"/admin/commands/command/{command.pk}/change/")
        assert b"Finished at" in page.content
        assert b"Late" in page.content


class TestBulkCommands:
    LIST = "/admin/devices/device/"

    def ask(self, client: Client, devices: list[Device], **more: str) -> HttpResponse:
        ids = [str(device.pk) for device in devices]
        body = {"action": "send_command", "_selected_action": ids, **more}
        return client.post(self.LIST, body)

    @pytest.fixture
    def devices(self, owner: User, stranger: User) -> list[Device]:
        return [DeviceFactory.create(user=user) for user in (owner, owner, stranger)]

    def test_the_selected_devices_get_the_command_after_a_confirmation(
        self, staff_client: Client, staff: User, devices: list[Device]
    ) -> None:
        page = self.ask(staff_client, devices).content.decode()
        assert "To 3 devices." in page
        assert not Command.objects.exists()
        body = {"send": "yes", "command_name": "reboot", "payload": '{"a": 1}'}
        answer = self.ask(staff_client, devices, **body)
        batch = CommandBatch.objects.get()
        assert answer.headers["Location"] == f"/admin/commands/commandbatch/{batch.pk}/change/"
        assert (batch.issued_by, batch.commands.count()) == (staff, 3)
        shown = staff_client.get(answer.headers["Location"]).content.decode()
        assert "3 pending" in re.sub(r"\s+", " ", shown)

    def test_for_devices_of_one_type_the_form_has_the_fields_of_the_schema(
        self, staff_client: Client, devices: list[Device]
    ) -> None:
        Device.objects.update(device_type="thermostat")
        CommandTypeFactory.create(command_name="a")
        schema = {"properties": {"target": {"type": "integer", "maximum": 30}}}
        CommandTypeFactory.create(command_name="set", payload_schema=schema)
        page = self.ask(staff_client, devices, command="set", show="yes").content.decode()
        assert 'name="payload/target"' in page
        body = {"send": "yes", "command_name": "set", "payload/target": "99"}
        page = self.ask(staff_client, devices, **body).content.decode()
        assert "Must be at most 30." in page
        assert not Command.objects.exists()

    def test_more_than_a_thousand_devices_are_rejected(
        self, staff_client: Client, owner: User
    ) -> None:
        Device.objects.bulk_create(Device(user=owner, name="many") for _ in range(1001))
        one = Device.objects.first()
        assert one
        self.ask(staff_client, [one], select_across="1")
        page = staff_client.get(self.LIST).content.decode()
        assert "to at most 1000 devices" in page

    def test_staff_without_the_permission_cannot_send_commands(
        self, client: Client, devices: list[Device]
    ) -> None:
        helper = UserFactory.create(is_staff=True)
        helper.user_permissions.set(Permission.objects.filter(codename__endswith="_device"))
        client.force_login(helper)
        # Django ignores an action that is not offered, and shows the list again.
        assert self.ask(client, devices).status_code == 302

    def test_cancelling_a_batch_cancels_its_pending_commands(
        self, staff_client: Client, devices: list[Device]
    ) -> None:
        batch = issue_batch(*devices)
        body = {"action": "cancel", "_selected_action": [str(batch.pk)]}
        page = staff_client.post("/admin/commands/commandbatch/", body, follow=True)
        assert b"3 cancelled." in page.content
        assert not Command.objects.filter(status="pending").exists()
