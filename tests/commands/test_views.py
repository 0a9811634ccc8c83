"""Pages of commands: forms, confirmation and timeline."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from commands import services as command_services
from commands.models import Command
from devices.models import Device
from tests.commands.pages import PARTIAL, SCHEMA, error_at, text
from tests.factories import (
    NOW,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
)


@pytest.fixture
def path(device: Device) -> str:
    """The path of a thermostat with the types "set" and "halt"; "halt" needs confirmation."""
    Device.objects.update(device_type="thermostat")
    CommandTypeFactory.create(command_name="set", title="Set it", payload_schema=SCHEMA)
    CommandTypeFactory.create(
        command_name="halt", title="Halt it", confirm=True, default_expiry=45,
        payload_schema={"additionalProperties": False},
    )  # fmt: skip
    return f"/devices/{device.pk}/commands"


class TestForms:
    def test_the_form_of_the_selected_command_is_displayed(
        self, owner_client: Client, path: str
    ) -> None:
        page = text(owner_client.get(path, {"command": "set"}))
        assert "<html" in page
        assert 'name="payload/target"' in page
        assert "<legend>Place" in page
        part = text(owner_client.get(path, {"command": "halt"}, headers=PARTIAL))
        assert "<html" not in part
        assert "payload" not in part
        assert '<option value="45" selected>45 seconds</option>' in part

    def test_a_valid_form_creates_a_command(self, owner_client: Client, path: str) -> None:
        form = {"command_name": "set", "payload/target": "21.5", "payload/place/room": "hall"}
        owner_client.post(path, {**form, "expires_in": "600"})
        command = Command.objects.get()
        assert command.payload == {"target": 21.5, "place": {"room": "hall"}}
        assert command.expires_at - command.created_at == timedelta(minutes=10)

    @pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["page", "part"])
    def test_an_invalid_value_is_reported_at_its_field_and_the_form_keeps_the_input(
        self, owner_client: Client, path: str, headers: dict[str, str]
    ) -> None:
        form = {"command_name": "set", "payload/target": "31", "payload/place/room": "hall"}
        response = owner_client.post(path, form, headers=headers)
        assert response.status_code == 422
        assert error_at(text(response), "payload/target") == "Must be at most 30."
        assert 'value="hall"' in text(response)
        assert not Command.objects.exists()

    def test_a_lifetime_that_is_not_an_option_is_422(self, owner_client: Client, path: str) -> None:
        form = {"command_name": "set", "payload/target": "20", "expires_in": "1"}
        assert owner_client.post(path, form).status_code == 422

    def test_a_form_that_is_sent_twice_creates_one_command(
        self, owner_client: Client, path: str
    ) -> None:
        form = {"command_name": "set", "payload/target": "20", "form_id": "a" * 32}
        for _ in range(2):
            assert owner_client.post(path, form).status_code == 302
        assert Command.objects.count() == 1

    def test_a_form_sent_again_with_other_values_asks_and_then_creates_another_command(
        self, owner_client: Client, path: str
    ) -> None:
        form = {"command_name": "set", "payload/target": "20", "form_id": "a" * 32}
        owner_client.post(path, form)
        page = text(owner_client.post(path, {**form, "payload/target": "21"}))
        assert "already been sent" in page
        form_id = re.search(r'name="form_id" value="([0-9a-f]{32})"', page)
        assert form_id
        assert form_id[1] != "a" * 32
        owner_client.post(path, {**form, "payload/target": "21", "form_id": form_id[1]})
        assert Command.objects.count() == 2

    def test_a_broken_schema_is_reported_and_breaks_no_page(
        self, owner_client: Client, path: str, device: Device
    ) -> None:
        broken = {"properties": {"a": {"$ref": "#/nowhere"}}}
        CommandTypeFactory.create(command_name="a", payload_schema=broken)
        assert owner_client.get(f"/devices/{device.pk}").status_code == 200
        response = owner_client.post(path, {"command_name": "a", "payload": "{}"})
        assert "An administrator can fix it." in error_at(text(response), "payload")

    def test_html_in_a_schema_is_escaped(self, owner_client: Client, path: str) -> None:
        text_with_html = "</script><img src=x onerror=alert(1)>"
        field_schema = {
            "title": text_with_html,
            "description": text_with_html,
            "enum": [text_with_html],
            "default": text_with_html,
        }
        schema = {
            "properties": {
                text_with_html: field_schema,
                "g": {"title": text_with_html, "properties": {text_with_html: field_schema}},
            }
        }
        CommandTypeFactory.create(command_name="a", title=text_with_html, payload_schema=schema)
        page = text(owner_client.get(path, {"command": "a"}))
        assert "<img" not in page
        assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 6


class TestConfirmation:
    @pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["page", "part"])
    def test_a_command_type_that_requires_confirmation_asks_first(
        self, owner_client: Client, path: str, device: Device, headers: dict[str, str]
    ) -> None:
        form = {"command_name": "halt", "expires_in": "600"}
        page = text(owner_client.post(path, form, headers=headers))
        assert "Send “Halt it” to greenhouse?" in page
        assert ("<dialog" in page) is bool(headers)
        assert not Command.objects.exists()
        again = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        assert again["confirmed"] == "yes"
        owner_client.post(path, again, headers=headers)
        command = Command.objects.get()
        assert command.command_name == "halt"
        assert command.expires_at - command.created_at == timedelta(minutes=10)

    def test_an_invalid_form_is_422_before_the_confirmation(
        self, owner_client: Client, path: str
    ) -> None:
        form = {"command_name": "halt", "expires_in": "x"}
        response = owner_client.post(path, form, headers=PARTIAL)
        assert response.status_code == 422
        assert "<dialog" not in text(response)


class TestTimeline:
    def show(self, client: Client, command: Command, **headers: str) -> str:
        return text(
            client.get(f"/devices/{command.device_id}/commands/{command.pk}", headers=headers)
        )

    def test_a_command_for_an_offline_device_shows_its_expiry(
        self, owner_client: Client, device: Device
    ) -> None:
        command = CommandFactory.create(device=device)
        page = self.show(owner_client, command)
        assert "The device is offline." in page
        assert f"{command.expires_at:%H:%M:%S}" in page.split("Expires at")[1][:200]
        assert 'data-every="2"' in page

    def test_the_timeline_shows_each_step(
        self, owner_client: Client, owner: User, device: Device
    ) -> None:
        now = timezone.now()
        command = command_services.create_command(
            device, command_name="a", payload={"b": 1}, issued_by=owner, now=now
        )
        assert "owner" in self.show(owner_client, command)
        command_services.claim(device, now=now)
        assert "attempt 1 of 10" in self.show(owner_client, command)
        command_services.record_result(command, status="executed", now=now, result={"took": 5})
        page = self.show(owner_client, command, **PARTIAL)
        assert "<html" not in page
        assert "&quot;took&quot;: 5" in page
        assert "data-every" not in page
        assert "Send again" in page

    def test_a_late_result_is_marked(self, owner_client: Client, device: Device) -> None:
        command = CommandFactory.create(device=device, created_at=NOW)
        command_services.record_result(command, status="executed", now=timezone.now())
        assert "The result came late" in self.show(owner_client, command)
        assert "Answered late" in text(owner_client.get(f"/devices/{device.pk}"))

    def test_a_command_is_cancelled_from_its_page(
        self, owner_client: Client, device: Device
    ) -> None:
        command = CommandFactory.create(device=device)
        path = f"/devices/{device.pk}/commands/{command.pk}"
        response = owner_client.post(f"{path}/cancel", {"back": "timeline"})
        assert response.headers["Location"] == path
        assert "It was cancelled." in self.show(owner_client, command)

    def test_a_command_is_resent_once_for_repeated_clicks(
        self, owner_client: Client, device: Device
    ) -> None:
        old = CommandFactory.create(device=device, created_at=NOW, payload={"a": 1})
        path = f"/devices/{device.pk}/commands/{old.pk}"
        locations = [
            owner_client.post(f"{path}/retry", {"retries": "0"}).headers["Location"]
            for _ in range(2)
        ]
        new = Command.objects.get(retry_of=old)
        assert locations == [f"/devices/{device.pk}/commands/{new.pk}"] * 2
        assert "Sent again (earlier command)" in self.show(owner_client, new)
        assert f"commands/{new.pk}" in self.show(owner_client, old)

    @pytest.mark.parametrize("limit", [0, 50])
    def test_a_command_that_cannot_be_resent_shows_the_reason(
        self, owner_client: Client, device: Device, settings: Any, limit: int
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = limit
        if limit:
            CommandTypeFactory.create(device_type=device.device_type, command_name="other")
        old = CommandFactory.create(device=device, created_at=NOW)
        path = f"/devices/{device.pk}/commands/{old.pk}/retry"
        page = text(owner_client.post(path, follow=True))
        assert ("no longer accepts" if limit else "Too many pending commands") in page

    @pytest.mark.parametrize("rest", ["", "/retry", "/cancel"])
    def test_a_command_of_another_user_is_404(
        self, stranger: User, stranger_client: Client, device: Device, rest: str
    ) -> None:
        command = CommandFactory.create(device=device, created_at=NOW)
        own = DeviceFactory.create(user=stranger)
        for other in (device, own):
            path = f"/devices/{other.pk}/commands/{command.pk}{rest}"
            send_request = stranger_client.post if rest else stranger_client.get
            assert send_request(path).status_code == 404
        assert Command.objects.count() == 1
