"""The command panel on the page of a device."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from commands.models import Command
from devices.models import Device
from tests.factories import (
    CommandFactory,
    CommandTypeFactory,
)
from tests.telemetry_site.pages import HTMX_HEADERS, text


class TestCommands:
    @pytest.fixture
    def path(self, device: Device) -> str:
        return f"/devices/{device.pk}/commands"

    def test_a_command_is_sent(
        self, owner_client: Client, device: Device, path: str, owner: User
    ) -> None:
        form = {"command_name": "set_interval", "payload": '{"seconds": 5}'}
        answer = owner_client.post(path, form)
        assert answer.headers["Location"] == f"/devices/{device.pk}#commands"
        command = Command.objects.get()
        assert (command.command_name, command.payload) == ("set_interval", {"seconds": 5})
        assert command.issued_by == owner

    def test_a_command_without_a_payload_has_an_empty_one(
        self, owner_client: Client, path: str
    ) -> None:
        owner_client.post(path, {"command_name": "ping", "payload": ""})
        assert Command.objects.get().payload == {}

    def test_an_htmx_request_gets_the_form_and_the_list(
        self, owner_client: Client, path: str
    ) -> None:
        page = text(owner_client.post(path, {"command_name": "ping"}, headers=HTMX_HEADERS))
        assert "Sent ping." in page
        assert '<span class="state waiting">Pending</span>' in page
        assert 'hx-swap-oob="outerMorph"' in page
        assert "<html" not in page

    @pytest.mark.parametrize(
        ("name", "payload", "field", "words"),
        [
            ("", "{}", "command_name", "This field is required."),
            ("two words", "{}", "command_name", "1 to 64 of the characters"),
            ("ping", '{"a": ', "payload", "at byte 6"),
            ("ping", "[]", "payload", "Must be a JSON object."),
            ("ping", '{"a": {"b": NaN}}', "payload", "At /a/b: NaN, Infinity"),
            ("ping", '{"a": 1, "a": 2}', "payload", "A key occurs more than once."),
            ("ping", '{"a": "\\u0000"}', "payload", "At /a: A NUL character"),
            ("ping", "[" * 5000 + "]" * 5000, "payload", "Must be a JSON object."),
            ("ping", '{"a": "' + "x" * 20_000 + '"}', "payload", "Larger than 16384 bytes."),
            ("ping", "\0", "payload", "at byte 0"),
        ],
    )
    @pytest.mark.parametrize("headers", [{}, HTMX_HEADERS], ids=["page", "part"])
    def test_an_invalid_command_shows_the_error_at_its_field(
        self,
        owner_client: Client,
        path: str,
        name: str,
        payload: str,
        field: str,
        words: str,
        headers: dict[str, str],
    ) -> None:
        form = {"command_name": name, "payload": payload}
        answer = owner_client.post(path, form, headers=headers)
        assert answer.status_code == 422
        errors = re.search(rf'id="id_{field}_error">(.*?)</ul>', text(answer), re.DOTALL)
        assert errors
        assert words in errors.group(1)
        assert not Command.objects.exists()

    def test_with_a_catalogue_its_commands_are_offered_and_its_schemas_are_enforced(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        Device.objects.update(device_type="thermostat")
        schema: dict[str, Any] = {"properties": {"celsius": {"type": "number"}}}
        CommandTypeFactory.create(
            command_name="set_target", title="Set the target", payload_schema=schema
        )
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert '<option value="set_target" selected>Set the target</option>' in page
        wrong = {"command_name": "set_target", "payload/celsius": "warm"}
        assert "Enter a number." in text(owner_client.post(path, wrong))
        unknown = {"command_name": "explode", "payload": "{}"}
        assert "accepts the commands set_target" in text(owner_client.post(path, unknown))
        assert not Command.objects.exists()

    def test_a_full_queue_shows_an_error(
        self, owner_client: Client, device: Device, path: str, settings: Any
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        CommandFactory.create(device=device)
        answer = owner_client.post(path, {"command_name": "ping"}, headers=HTMX_HEADERS)
        assert answer.status_code == 422
        assert "This device already has 1 pending commands" in text(answer)

    def test_a_pending_command_is_cancelled(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        command = CommandFactory.create(device=device)
        answer = owner_client.post(f"{path}/{command.pk}/cancel")
        assert answer.headers["Location"] == f"/devices/{device.pk}#commands"
        command.refresh_from_db()
        assert (command.status, command.reason) == ("failed", "cancelled")

    def test_cancelling_a_finished_command_changes_nothing_and_shows_its_result(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        command = CommandFactory.create(
            device=device, status="executed", executed_at=timezone.now(), result={"done": True}
        )
        page = text(owner_client.post(f"{path}/{command.pk}/cancel", headers=HTMX_HEADERS))
        assert '<span class="state executed">Executed</span>' in page
        assert "&quot;done&quot;: true" in page

    def test_a_get_request_does_not_cancel(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        command = CommandFactory.create(device=device)
        assert owner_client.get(f"{path}/{command.pk}/cancel").status_code == 405

    @pytest.mark.parametrize(
        ("given", "words", "seconds"),
        [
            ({}, "Pending", 2),
            ({"delivered_at": timezone.now()}, "Delivered", 2),
            ({"status": "executed", "executed_at": timezone.now()}, "Executed", 5),
            ({"status": "failed", "reason": "rejected"}, "Failed", 5),
            ({"created_at": timezone.now() - timedelta(days=1)}, "Failed", 5),
        ],
        ids=["waiting", "delivered", "executed", "failed", "expired"],
    )
    def test_the_list_shows_the_current_state(
        self,
        owner_client: Client,
        device: Device,
        path: str,
        given: dict[str, Any],
        words: str,
        seconds: int,
    ) -> None:
        CommandFactory.create(device=device, **given)
        page = text(owner_client.get(f"{path}/recent"))
        assert re.findall(r'"state \w+">(\w+)<', page) == [words]
        assert f'data-every="{seconds}"' in page

    def test_the_list_contains_the_newest_ten(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        for _ in range(11):
            CommandFactory.create(device=device)
        assert text(owner_client.get(f"{path}/recent")).count('<li id="command-') == 10
