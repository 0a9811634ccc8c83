"""The pages of commands: forms of the catalogue, the question, one command, many devices."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.models import User
from commands import services as command_services
from commands.models import Command, CommandBatch
from devices.models import Device
from tests.factories import (
    NOW,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    send_to_many,
)

PARTIAL = {"HX-Request": "true"}
SCHEMA = {
    "type": "object",
    "required": ["target"],
    "properties": {
        "target": {"title": "Target", "type": "number", "minimum": 5, "maximum": 30},
        "place": {"title": "Place", "properties": {"room": {"type": "string"}}},
    },
}


def text(answer: HttpResponse) -> str:
    return answer.content.decode()


def error_at(page: str, field: str) -> str:
    found = re.search(rf'id="id_{field}_error">\s*<li>(.*?)</li>', page, re.DOTALL)
    return found[1] if found else ""


@pytest.fixture
def path(device: Device) -> str:
    """Of the commands of a thermostat that can be set, and halted when somebody is sure."""
    Device.objects.update(device_type="thermostat")
    CommandTypeFactory.create(command_name="set", title="Set it", payload_schema=SCHEMA)
    CommandTypeFactory.create(
        command_name="halt", title="Halt it", confirm=True, default_expiry=45,
        payload_schema={"additionalProperties": False},
    )  # fmt: skip
    return f"/devices/{device.pk}/commands"


class TestForms:
    def test_the_form_of_the_chosen_command_is_shown(self, owner_client: Client, path: str) -> None:
        page = text(owner_client.get(path, {"command": "set"}))
        assert "<html" in page
        assert 'name="payload/target"' in page
        assert "<legend>Place" in page
        part = text(owner_client.get(path, {"command": "halt"}, headers=PARTIAL))
        assert "<html" not in part
        assert "payload" not in part
        assert '<option value="45" selected>45 seconds</option>' in part

    def test_a_filled_in_form_is_a_command(self, owner_client: Client, path: str) -> None:
        form = {"command_name": "set", "payload/target": "21.5", "payload/place/room": "hall"}
        owner_client.post(path, {**form, "expires_in": "600"})
        command = Command.objects.get()
        assert command.payload == {"target": 21.5, "place": {"room": "hall"}}
        assert command.expires_at - command.created_at == timedelta(minutes=10)

    @pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["page", "part"])
    def test_what_does_not_fit_is_told_at_its_field_and_what_was_typed_is_kept(
        self, owner_client: Client, path: str, headers: dict[str, str]
    ) -> None:
        form = {"command_name": "set", "payload/target": "31", "payload/place/room": "hall"}
        answer = owner_client.post(path, form, headers=headers)
        assert answer.status_code == 422
        assert error_at(text(answer), "payload/target") == "At most 30."
        assert 'value="hall"' in text(answer)
        assert not Command.objects.exists()

    def test_how_long_it_waits_is_chosen_from_a_few(self, owner_client: Client, path: str) -> None:
        form = {"command_name": "set", "payload/target": "20", "expires_in": "1"}
        assert owner_client.post(path, form).status_code == 422

    def test_a_form_that_is_sent_twice_is_one_command(
        self, owner_client: Client, path: str
    ) -> None:
        form = {"command_name": "set", "payload/target": "20", "once": "a" * 32}
        for _ in range(2):
            assert owner_client.post(path, form).status_code == 302
        assert Command.objects.count() == 1

    def test_sent_once_more_with_other_values_it_asks_and_then_is_another(
        self, owner_client: Client, path: str
    ) -> None:
        form = {"command_name": "set", "payload/target": "20", "once": "a" * 32}
        owner_client.post(path, form)
        page = text(owner_client.post(path, {**form, "payload/target": "21"}))
        assert "sent already" in page
        once = re.search(r'name="once" value="([0-9a-f]{32})"', page)
        assert once
        assert once[1] != "a" * 32
        owner_client.post(path, {**form, "payload/target": "21", "once": once[1]})
        assert Command.objects.count() == 2

    def test_a_broken_schema_is_told_and_breaks_no_page(
        self, owner_client: Client, path: str, device: Device
    ) -> None:
        broken = {"properties": {"a": {"$ref": "#/nowhere"}}}
        CommandTypeFactory.create(command_name="a", payload_schema=broken)
        assert owner_client.get(f"/devices/{device.pk}").status_code == 200
        answer = owner_client.post(path, {"command_name": "a", "payload": "{}"})
        assert "staff can mend it" in error_at(text(answer), "payload")

    def test_hostile_words_of_a_schema_are_shown_as_text(
        self, owner_client: Client, path: str
    ) -> None:
        word = "</script><img src=x onerror=alert(1)>"
        leaf = {"title": word, "description": word, "enum": [word], "default": word}
        schema = {"properties": {word: leaf, "g": {"title": word, "properties": {word: leaf}}}}
        CommandTypeFactory.create(command_name="a", title=word, payload_schema=schema)
        page = text(owner_client.get(path, {"command": "a"}))
        assert "<img" not in page
        assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 6


class TestConfirming:
    @pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["page", "part"])
    def test_where_the_catalogue_asks_the_sender_is_asked(
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

    def test_a_fault_is_told_before_anybody_is_asked(self, owner_client: Client, path: str) -> None:
        form = {"command_name": "halt", "expires_in": "x"}
        answer = owner_client.post(path, form, headers=PARTIAL)
        assert answer.status_code == 422
        assert "<dialog" not in text(answer)


class TestTimeline:
    def show(self, client: Client, command: Command, **headers: str) -> str:
        return text(
            client.get(f"/devices/{command.device_id}/commands/{command.pk}", headers=headers)
        )

    def test_a_command_for_an_offline_device_says_until_when_it_waits(
        self, owner_client: Client, device: Device
    ) -> None:
        command = CommandFactory.create(device=device)
        page = self.show(owner_client, command)
        assert "The device is offline." in page
        assert f"{command.expires_at:%H:%M:%S}" in page.split("Waits until")[1][:200]
        assert 'data-every="2"' in page

    def test_each_step_is_told(self, owner_client: Client, owner: User, device: Device) -> None:
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

    def test_a_late_answer_is_marked(self, owner_client: Client, device: Device) -> None:
        command = CommandFactory.create(device=device, created_at=NOW)
        command_services.record_result(command, status="executed", now=timezone.now())
        assert "came late" in self.show(owner_client, command)
        assert "came late" in text(owner_client.get(f"/devices/{device.pk}"))

    def test_it_is_cancelled_from_here(self, owner_client: Client, device: Device) -> None:
        command = CommandFactory.create(device=device)
        path = f"/devices/{device.pk}/commands/{command.pk}"
        answer = owner_client.post(f"{path}/cancel", {"back": "timeline"})
        assert answer.headers["Location"] == path
        assert "It was cancelled." in self.show(owner_client, command)

    def test_it_is_sent_again_once_however_often_one_clicks(
        self, owner_client: Client, device: Device
    ) -> None:
        old = CommandFactory.create(device=device, created_at=NOW, payload={"a": 1})
        path = f"/devices/{device.pk}/commands/{old.pk}"
        places = [
            owner_client.post(f"{path}/retry", {"retries": "0"}).headers["Location"]
            for _ in range(2)
        ]
        new = Command.objects.get(retry_of=old)
        assert places == [f"/devices/{device.pk}/commands/{new.pk}"] * 2
        assert "Sent again after an earlier one" in self.show(owner_client, new)
        assert f"commands/{new.pk}" in self.show(owner_client, old)

    @pytest.mark.parametrize("limit", [0, 50])
    def test_what_cannot_be_sent_again_says_why(
        self, owner_client: Client, device: Device, settings: Any, limit: int
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = limit
        if limit:
            CommandTypeFactory.create(device_type=device.device_type, command_name="other")
        old = CommandFactory.create(device=device, created_at=NOW)
        path = f"/devices/{device.pk}/commands/{old.pk}/retry"
        page = text(owner_client.post(path, follow=True))
        assert ("no longer fits" if limit else "Too many commands wait") in page

    @pytest.mark.parametrize("rest", ["", "/retry", "/cancel"])
    def test_a_stranger_finds_nothing(
        self, stranger: User, stranger_client: Client, device: Device, rest: str
    ) -> None:
        command = CommandFactory.create(device=device, created_at=NOW)
        own = DeviceFactory.create(user=stranger)
        for where in (device, own):
            path = f"/devices/{where.pk}/commands/{command.pk}{rest}"
            ask = stranger_client.post if rest else stranger_client.get
            assert ask(path).status_code == 404
        assert Command.objects.count() == 1


@pytest.fixture
def fleet(owner: User) -> list[Device]:
    return [DeviceFactory.create(user=owner, name=f"lamp {n}", device_type="lamp") for n in "123"]


class TestMany:
    PATH = "/commands/many"

    def send(self, client: Client, devices: list[Device], **form: Any) -> HttpResponse:
        query = form.pop("query", "")
        ids = [str(device.pk) for device in devices]
        return client.post(self.PATH + query, {"command_name": "blink", "devices": ids, **form})

    def test_those_that_match_are_listed_and_ticked(
        self, owner_client: Client, device: Device, fleet: list[Device], stranger: User
    ) -> None:
        DeviceFactory.create(user=stranger, name="lamp of another", device_type="lamp")
        page = text(owner_client.get(self.PATH, {"q": "LAMP", "device_type": "lamp"}))
        names = re.findall(r'name="devices" value="[^"]+" checked> <span>([^<]+)<', page)
        assert names == ["lamp 1", "lamp 2", "lamp 3"]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"metadata": "room=hall"}, ["lamp 1"]),
            ({"metadata": "room = hall"}, ["lamp 1"]),
            ({"status": "online"}, ["lamp 2"]),
            ({"q": "%00"}, []),
            ({"status": "asleep", "metadata": "nonsense"}, ["lamp 1", "lamp 2", "lamp 3"]),
        ],
    )
    def test_filters(
        self, owner_client: Client, fleet: list[Device], query: dict[str, str], names: list[str]
    ) -> None:
        Device.objects.filter(name="lamp 1").update(metadata={"room": "hall"})
        Device.objects.filter(name="lamp 2").update(last_seen_at=timezone.now())
        page = text(owner_client.get(self.PATH, query))
        assert re.findall(r"checked> <span>([^<]+)<", page) == names

    def test_the_ticked_ones_get_it_after_one_question(
        self, owner_client: Client, fleet: list[Device]
    ) -> None:
        answer = self.send(owner_client, fleet[:2], payload='{"a": 1}')
        assert "Send “blink” to 2 devices?" in text(answer)
        assert not Command.objects.exists()
        answer = self.send(owner_client, fleet[:2], payload='{"a": 1}', confirmed="yes")
        batch = CommandBatch.objects.get()
        assert answer.headers["Location"] == f"/commands/batches/{batch.pk}"
        assert {command.device for command in batch.commands.all()} == set(fleet[:2])

    def test_a_type_brings_the_forms_of_its_commands(
        self, owner_client: Client, fleet: list[Device]
    ) -> None:
        CommandTypeFactory.create(device_type="lamp", command_name="set", payload_schema=SCHEMA)
        page = text(owner_client.get(self.PATH, {"device_type": "lamp"}))
        assert 'name="payload/target"' in page
        form = {"command_name": "set", "payload/target": "99", "query": "?device_type=lamp"}
        page = text(self.send(owner_client, fleet, **form))
        assert error_at(page, "payload/target") == "At most 30."

    @pytest.mark.parametrize("confirmed", [{}, {"confirmed": "yes"}])
    def test_somebody_elses_devices_cannot_be_ticked(
        self, stranger_client: Client, stranger: User, fleet: list[Device], confirmed: Any
    ) -> None:
        DeviceFactory.create(user=stranger)
        answer = self.send(stranger_client, fleet, **confirmed)
        assert answer.status_code == 422
        assert "Tick one device at the least." in text(answer)
        assert not Command.objects.exists()

    def test_what_none_takes_is_told(
        self, owner_client: Client, fleet: list[Device], settings: Any
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 0
        page = text(self.send(owner_client, fleet, confirmed="yes"))
        assert "None of these devices takes it." in page
        assert "0 commands wait for it already." in page

    def test_a_thousand_can_be_ticked(self, owner_client: Client, owner: User) -> None:
        Device.objects.bulk_create(Device(user=owner, name="many") for _ in range(1001))
        page = text(owner_client.get(self.PATH))
        assert page.count("checked> <span>") == 1000
        assert "These are the first 1000." in page
        devices = list(Device.objects.order_by("name", "pk")[:1000])
        assert self.send(owner_client, devices, confirmed="yes").status_code == 302
        assert Command.objects.count() == 1000

    def test_the_page_of_a_batch_tells_of_each_device(
        self, owner_client: Client, fleet: list[Device], settings: Any
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        CommandFactory.create(device=fleet[0])
        batch = send_to_many(*fleet, unknown=[uuid4()])
        command_services.record_result(
            fleet[1].commands.get(), status="executed", now=timezone.now()
        )
        page = text(owner_client.get(f"/commands/batches/{batch.pk}"))
        assert re.findall(r"<dd>(\d+)</dd>", page) == ["1", "1", "0", "2"]
        assert "1 commands wait for it already." in page
        assert re.findall(r'commands/[0-9a-f-]{36}">(lamp \d)</a>', page) == ["lamp 2", "lamp 3"]
        part = text(owner_client.get(f"/commands/batches/{batch.pk}", headers=PARTIAL))
        assert "<html" not in part
        assert f"/commands/batches/{batch.pk}" in text(owner_client.get("/commands/batches"))

    def test_it_is_cancelled_as_one(self, owner_client: Client, fleet: list[Device]) -> None:
        batch = send_to_many(*fleet)
        page = text(owner_client.post(f"/commands/batches/{batch.pk}/cancel", follow=True))
        assert re.findall(r"<dd>(\d+)</dd>", page) == ["0", "0", "3", "0"]

    @pytest.mark.parametrize("rest", ["", "/cancel"])
    def test_a_stranger_finds_no_batch(
        self, stranger_client: Client, fleet: list[Device], rest: str
    ) -> None:
        batch = send_to_many(*fleet)
        ask = stranger_client.post if rest else stranger_client.get
        assert ask(f"/commands/batches/{batch.pk}{rest}").status_code == 404
        assert str(batch.pk) not in text(stranger_client.get("/commands/batches"))

    @pytest.mark.parametrize("path", ["/commands/many", "/commands/batches"])
    def test_nobody_is_sent_to_sign_in(self, client: Client, db: None, path: str) -> None:
        assert client.get(path).headers["Location"].startswith("/sign-in?next=/commands/")

    def test_a_batch_costs_as_many_queries_for_many_as_for_one(
        self, owner_client: Client, owner: User, django_assert_num_queries: Any
    ) -> None:
        for count in (1, 30):
            batch = send_to_many(*DeviceFactory.create_batch(count, user=owner))
            # Session, user, batch, count for the pages, names of refused (none asked),
            # progress, commands.
            with django_assert_num_queries(6):
                owner_client.get(f"/commands/batches/{batch.pk}")
