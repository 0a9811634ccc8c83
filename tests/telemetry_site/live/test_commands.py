"""Devices that long-poll for their commands."""

import http.client
import json
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from commands import services as command_services
from commands.models import Command
from devices import services as device_services
from devices.models import Device
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    device_token,
    device_token_and_row,
    user_token,
)
from tests.telemetry_site.live.conftest import (
    TIMEOUT_SECONDS,
    LiveServer,
    terminate_listener,
    wait_until,
)

WAIT = "/api/v1/device/commands?wait=30"


def test_a_new_command_is_sent_to_the_polling_device(live: LiveServer, device: Device) -> None:
    waiting = live.start_poll(WAIT, device_token(device))
    command = command_services.create_command(
        device, command_name="ping", payload={}, issued_by=None, now=timezone.now()
    )
    assert waiting.result() == (200, ["ping"])
    command.refresh_from_db()
    assert (command.attempts, command.delivered_at is None) == (1, False)


def test_a_pending_command_is_returned_immediately_in_the_format_of_the_api(
    live: LiveServer, device: Device, device_api
) -> None:
    CommandFactory(device=device, command_name="first")
    answer = live.get(WAIT, device_token(device))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    first = answer.read()
    # The same response as the site's, apart from the fields of the second delivery.
    Command.objects.update(lease_until=None, attempts=0)
    assert device_api.get("/api/v1/device/commands").content == first


def test_the_limit_parameter_sets_the_number_of_commands(
    live: LiveServer, device: Device, device_api
) -> None:
    for name in ("first", "second"):
        CommandFactory(device=device, command_name=name)
    taken = json.loads(live.get(WAIT + "&limit=1", device_token(device)).read())["results"]
    taken += device_api.get("/api/v1/device/commands?limit=1").json()["results"]
    assert [command["command_name"] for command in taken] == ["first", "second"]
    for limit in ("0", "51", "x", "1.5"):
        assert live.get(f"{WAIT}&limit={limit}", device_token(device)).status == 422
        assert device_api.get(f"/api/v1/device/commands?limit={limit}").status_code == 422


def test_a_poll_without_commands_is_204_after_its_time(live: LiveServer, device: Device) -> None:
    for wait in ("?wait=0.05", "?wait=0", "", "/?wait=0"):
        answer = live.get(f"/api/v1/device/commands{wait}", device_token(device))
        assert (answer.status, answer.read()) == (204, b"")
    device.refresh_from_db()
    assert device.last_seen_at is not None


def test_a_device_receives_only_its_own_commands(live: LiveServer, device: Device) -> None:
    waiting = live.start_poll(WAIT, device_token(device))
    CommandFactory(device=DeviceFactory(), command_name="other")
    CommandFactory(device=device, command_name="own")
    assert waiting.result() == (200, ["own"])


def test_of_two_polls_of_one_device_one_receives_the_command_and_the_other_continues(
    live: LiveServer, device: Device
) -> None:
    token = device_token(device)
    older, newer = live.start_poll(WAIT, token), live.start_poll(WAIT, token)
    CommandFactory(device=device, command_name="one")
    assert newer.result() == (200, ["one"])
    assert older.is_alive()
    CommandFactory(device=device, command_name="two")
    assert older.result() == (200, ["two"])


def test_a_closed_poll_does_not_take_the_command_of_another_poll(
    live: LiveServer, device: Device
) -> None:
    token = device_token(device)
    waiting = live.start_poll(WAIT, token)
    leaving = http.client.HTTPConnection("127.0.0.1", live.port)
    leaving.request("GET", WAIT, headers={"Authorization": f"Bearer {token}"})
    wait_until(lambda: len(live.live.polls) == 2)
    leaving.close()
    wait_until(lambda: len(live.live.polls) == 1)
    CommandFactory(device=device, command_name="ping")
    assert waiting.result() == (200, ["ping"])


def test_an_expired_command_is_not_delivered(live: LiveServer, device: Device) -> None:
    waiting = live.start_poll("/api/v1/device/commands?wait=0.3", device_token(device))
    past = timezone.now() - timedelta(hours=2)
    CommandFactory(device=device, created_at=past)
    assert waiting.result() == (204, [])


def test_a_token_revoked_during_a_poll_is_401_and_receives_no_command(
    live: LiveServer, device: Device
) -> None:
    row, token = device_token_and_row(device)
    waiting = live.start_poll(WAIT, token)
    device_services.revoke_token(row)
    CommandFactory(device=device)
    waiting.join(TIMEOUT_SECONDS)
    assert not waiting.is_alive(), "the request has no response"
    assert waiting.status == 401
    assert Command.objects.get().attempts == 0


def test_an_invalid_wait_is_422(live: LiveServer, device: Device) -> None:
    token = device_token(device)
    for wait in ("31", "-1", "1e1", "abc", "", "0x1", "%D9%A1"):
        answer = live.get(f"/api/v1/device/commands?wait={wait}", token)
        assert answer.status == 422, wait
        assert b'"/wait"' in answer.read()


def test_unauthorized_requests_get_the_same_status_as_on_the_site(
    live: LiveServer, owner, device
) -> None:
    assert live.get(WAIT).status == 401
    refused = live.get(WAIT, device_token(device)[:-1] + "x")
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert live.get(WAIT, user_token(owner)).status == 403
    assert live.get("/api/v1/devices", device_token(device)).status == 404
    assert live.get(WAIT, device_token(device), method="POST").status == 405
    # HEAD would claim commands without delivering them.
    assert live.get(WAIT, device_token(device), method="HEAD").status == 405
    assert live.get(WAIT, device_token(device), Host="elsewhere.example").status == 400


def test_a_command_created_while_not_listening_is_found_after_reconnecting(
    live: LiveServer, device: Device
) -> None:
    waiting = live.start_poll(WAIT, device_token(device))
    with connection.cursor() as cursor:
        # Without a notification, as during a restart of PostgreSQL.
        cursor.execute("ALTER TABLE commands DISABLE TRIGGER commands_tell")
        CommandFactory(device=device, command_name="unheard")
        cursor.execute("ALTER TABLE commands ENABLE TRIGGER commands_tell")
    terminate_listener()
    assert waiting.result() == (200, ["unheard"])


def test_a_shutdown_answers_every_poll(live: LiveServer, device: Device) -> None:
    waiting = live.start_poll(WAIT, device_token(device))
    live.live.stop()
    assert waiting.result() == (204, [])
