"""Commands in the admin: to one device and to many, cancelled and sent again."""

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
    send_to_many,
)

pytestmark = pytest.mark.django_db


class TestCommands:
    path = "/admin/commands/command/add/"

    def send(self, client: Client, device: Device, name: str, payload: str) -> str:
        body = {"device": device.pk, "command_name": name, "payload": payload}
        return client.post(self.path, body, follow=True).content.decode()

    def test_one_is_sent_as_from_everywhere(
        self, staff_client: Client, staff: User, device: Device
    ) -> None:
        self.send(staff_client, device, "reboot", '{"delay": 5}')
        command = Command.objects.get()
        assert (command.payload, command.issued_by) == ({"delay": 5}, staff)

    def test_a_payload_that_does_not_fit_the_catalogue_is_told_at_its_field(
        self, staff_client: Client, device: Device
    ) -> None:
        CommandType.objects.create(
            device_type=device.device_type,
            command_name="reboot",
            title="Reboot",
            payload_schema={"properties": {"delay": {"type": "integer"}}},
        )
        page = self.send(staff_client, device, "reboot", '{"delay": "soon"}')
        assert "delay It must be of type integer." in page
        assert not Command.objects.exists()

    def test_a_full_queue_is_told(
        self, staff_client: Client, device: Device, settings: pytest.FixtureRequest
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        self.send(staff_client, device, "reboot", "{}")
        assert "Too many commands wait" in self.send(staff_client, device, "reboot", "{}")

    def test_the_selected_are_cancelled_if_they_can_be(
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
            ('{"$ref": "https://example.org/s"}', "only point into the schema itself"),
        ],
    )
    def test_a_schema_is_checked_when_it_is_saved(
        self, staff_client: Client, schema: str, words: str
    ) -> None:
        body = {"device_type": "pump", "command_name": "go", "title": "Go", "default_expiry": 60}
        page = staff_client.post(
            "/admin/commands/commandtype/add/", {**body, "payload_schema": schema}
        )
        assert words in page.content.decode()
        assert not CommandType.objects.exists()

    def test_the_selected_are_sent_again_if_they_can_be(
        self, staff_client: Client, staff: User, device: Device
    ) -> None:
        old = CommandFactory.create(device=device, status="failed", reason="device")
        pending = CommandFactory.create(device=device)
        body = {"action": "send_again", "_selected_action": [str(old.pk), str(pending.pk)]}
        page = staff_client.post("/admin/commands/command/", body, follow=True)
        assert b"1 of 2 sent again." in page.content
        assert Command.objects.get(retry_of=old).issued_by == staff

    def test_one_is_shown_whole(self, staff_client: Client, device: Device) -> None:
        command = CommandFactory.create(device=device, late=True)
        page = staff_client.get(f"/admin/commands/command/{command.pk}/change/")
        assert b"Finished at" in page.content
        assert b"Late" in page.content


class TestSendingToMany:
    LIST = "/admin/devices/device/"

    def ask(self, client: Client, devices: list[Device], **more: str) -> HttpResponse:
        ids = [str(device.pk) for device in devices]
        body = {"action": "send_command", "_selected_action": ids, **more}
        return client.post(self.LIST, body)

    @pytest.fixture
    def devices(self, owner: User, stranger: User) -> list[Device]:
        return [DeviceFactory.create(user=user) for user in (owner, owner, stranger)]

    def test_the_selected_get_it_after_a_page_that_asks(
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
        assert "3 waiting" in re.sub(r"\s+", " ", shown)

    def test_those_of_one_type_get_the_form_of_its_commands(
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
        assert "At most 30." in page
        assert not Command.objects.exists()

    def test_more_than_a_thousand_are_refused(self, staff_client: Client, owner: User) -> None:
        Device.objects.bulk_create(Device(user=owner, name="many") for _ in range(1001))
        one = Device.objects.first()
        assert one
        self.ask(staff_client, [one], select_across="1")
        page = staff_client.get(self.LIST).content.decode()
        assert "to 1000 devices at the most" in page

    def test_staff_who_may_send_no_commands_cannot(
        self, client: Client, devices: list[Device]
    ) -> None:
        helper = UserFactory.create(is_staff=True)
        helper.user_permissions.set(Permission.objects.filter(codename__endswith="_device"))
        client.force_login(helper)
        # The framework knows no action that is not offered, and shows the list again.
        assert self.ask(client, devices).status_code == 302

    def test_a_batch_is_cancelled(self, staff_client: Client, devices: list[Device]) -> None:
        batch = send_to_many(*devices)
        body = {"action": "cancel", "_selected_action": [str(batch.pk)]}
        page = staff_client.post("/admin/commands/commandbatch/", body, follow=True)
        assert b"3 cancelled." in page.content
        assert not Command.objects.filter(status="pending").exists()
