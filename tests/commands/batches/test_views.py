"""Pages of batches: select devices, send a command, show its progress."""

import re
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
from tests.commands.pages import PARTIAL, SCHEMA, error_at, text
from tests.factories import (
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    issue_batch,
)


@pytest.fixture
def fleet(owner: User) -> list[Device]:
    return [DeviceFactory.create(user=owner, name=f"lamp {n}", device_type="lamp") for n in "123"]


class TestBatches:
    PATH = "/commands/many"

    def send(self, client: Client, devices: list[Device], **form: Any) -> HttpResponse:
        query = form.pop("query", "")
        ids = [str(device.pk) for device in devices]
        return client.post(self.PATH + query, {"command_name": "blink", "devices": ids, **form})

    def test_devices_that_match_the_filter_are_listed_and_selected(
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
    def test_devices_are_filtered(
        self, owner_client: Client, fleet: list[Device], query: dict[str, str], names: list[str]
    ) -> None:
        Device.objects.filter(name="lamp 1").update(metadata={"room": "hall"})
        Device.objects.filter(name="lamp 2").update(last_seen_at=timezone.now())
        page = text(owner_client.get(self.PATH, query))
        assert re.findall(r"checked> <span>([^<]+)<", page) == names

    def test_the_selected_devices_get_the_command_after_a_confirmation(
        self, owner_client: Client, fleet: list[Device]
    ) -> None:
        response = self.send(owner_client, fleet[:2], payload='{"a": 1}')
        assert "Send “blink” to 2 devices?" in text(response)
        assert not Command.objects.exists()
        response = self.send(owner_client, fleet[:2], payload='{"a": 1}', confirmed="yes")
        batch = CommandBatch.objects.get()
        assert response.headers["Location"] == f"/commands/batches/{batch.pk}"
        assert {command.device for command in batch.commands.all()} == set(fleet[:2])

    def test_a_device_type_shows_the_forms_of_its_commands(
        self, owner_client: Client, fleet: list[Device]
    ) -> None:
        CommandTypeFactory.create(device_type="lamp", command_name="set", payload_schema=SCHEMA)
        page = text(owner_client.get(self.PATH, {"device_type": "lamp"}))
        assert 'name="payload/target"' in page
        form = {"command_name": "set", "payload/target": "99", "query": "?device_type=lamp"}
        page = text(self.send(owner_client, fleet, **form))
        assert error_at(page, "payload/target") == "Must be at most 30."

    @pytest.mark.parametrize("confirmed", [{}, {"confirmed": "yes"}])
    def test_devices_of_another_user_cannot_be_selected(
        self, stranger_client: Client, stranger: User, fleet: list[Device], confirmed: Any
    ) -> None:
        DeviceFactory.create(user=stranger)
        response = self.send(stranger_client, fleet, **confirmed)
        assert response.status_code == 422
        assert "Select at least one device." in text(response)
        assert not Command.objects.exists()

    def test_a_command_that_all_devices_reject_shows_the_reason(
        self, owner_client: Client, fleet: list[Device], settings: Any
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 0
        page = text(self.send(owner_client, fleet, confirmed="yes"))
        assert "None of these devices accepts this command." in page
        assert "already has 0 pending commands." in page

    def test_a_thousand_devices_can_be_selected(self, owner_client: Client, owner: User) -> None:
        Device.objects.bulk_create(Device(user=owner, name="many") for _ in range(1001))
        page = text(owner_client.get(self.PATH))
        assert page.count("checked> <span>") == 1000
        assert "Only the first 1000 are shown." in page
        devices = list(Device.objects.order_by("name", "pk")[:1000])
        assert self.send(owner_client, devices, confirmed="yes").status_code == 302
        assert Command.objects.count() == 1000

    def test_the_page_of_a_batch_shows_each_device(
        self, owner_client: Client, fleet: list[Device], settings: Any
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        CommandFactory.create(device=fleet[0])
        batch = issue_batch(*fleet, unknown=[uuid4()])
        command_services.record_result(
            fleet[1].commands.get(), status="executed", now=timezone.now()
        )
        page = text(owner_client.get(f"/commands/batches/{batch.pk}"))
        assert re.findall(r"<dd>(\d+)</dd>", page) == ["1", "1", "0", "2"]
        assert "already has 1 pending commands." in page
        assert re.findall(r'commands/[0-9a-f-]{36}">(lamp \d)</a>', page) == ["lamp 2", "lamp 3"]
        part = text(owner_client.get(f"/commands/batches/{batch.pk}", headers=PARTIAL))
        assert "<html" not in part
        assert f"/commands/batches/{batch.pk}" in text(owner_client.get("/commands/batches"))

    def test_a_batch_is_cancelled(self, owner_client: Client, fleet: list[Device]) -> None:
        batch = issue_batch(*fleet)
        page = text(owner_client.post(f"/commands/batches/{batch.pk}/cancel", follow=True))
        assert re.findall(r"<dd>(\d+)</dd>", page) == ["0", "0", "3", "0"]

    @pytest.mark.parametrize("rest", ["", "/cancel"])
    def test_a_batch_of_another_user_is_404(
        self, stranger_client: Client, fleet: list[Device], rest: str
    ) -> None:
        batch = issue_batch(*fleet)
        send_request = stranger_client.post if rest else stranger_client.get
        assert send_request(f"/commands/batches/{batch.pk}{rest}").status_code == 404
        assert str(batch.pk) not in text(stranger_client.get("/commands/batches"))

    @pytest.mark.parametrize("path", ["/commands/many", "/commands/batches"])
    def test_an_anonymous_client_is_redirected_to_sign_in(
        self, client: Client, db: None, path: str
    ) -> None:
        assert client.get(path).headers["Location"].startswith("/sign-in?next=/commands/")

    def test_the_page_of_a_batch_takes_the_same_queries_for_any_number_of_devices(
        self, owner_client: Client, owner: User, django_assert_num_queries: Any
    ) -> None:
        for count in (1, 30):
            batch = issue_batch(*DeviceFactory.create_batch(count, user=owner))
            # Session, user, batch, count for the pages, names of rejected devices (no query),
            # progress, commands.
            with django_assert_num_queries(6):
                owner_client.get(f"/commands/batches/{batch.pk}")
