"""Devices that wait for their commands."""

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
from tests.telemetry_site.live.conftest import LiveServer, cut_off, until

WAIT = "/api/v1/device/commands?wait=30"


def test_a_command_reaches_the_device_that_waits_for_it(live: LiveServer, device: Device) -> None:
    waiting = live.waiting(WAIT, device_token(device))
    command = command_services.create_command(
        device, command_name="ping", payload={}, issued_by=None, now=timezone.now()
    )
    assert waiting.answer() == (200, ["ping"])
    command.refresh_from_db()
    assert (command.attempts, command.delivered_at is None) == (1, False)


def test_what_waited_already_is_answered_at_once_in_the_form_of_the_api(
    live: LiveServer, device: Device, device_api
) -> None:
    CommandFactory(device=device, command_name="first")
    answer = live.get(WAIT, device_token(device))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    first = answer.read()
    # What the site itself answers, but for what the second delivery has changed.
    Command.objects.update(lease_until=None, attempts=0)
    assert device_api.get("/api/v1/device/commands").content == first


def test_a_small_device_takes_one_at_a_time(live: LiveServer, device: Device, device_api) -> None:
    for name in ("first", "second"):
        CommandFactory(device=device, command_name=name)
    taken = json.loads(live.get(WAIT + "&limit=1", device_token(device)).read())["results"]
    taken += device_api.get("/api/v1/device/commands?limit=1").json()["results"]
    assert [command["command_name"] for command in taken] == ["first", "second"]
    for limit in ("0", "51", "x", "1.5"):
        assert live.get(f"{WAIT}&limit={limit}", device_token(device)).status == 422
        assert device_api.get(f"/api/v1/device/commands?limit={limit}").status_code == 422


def test_the_time_that_was_asked_for_passes_and_there_is_nothing(
    live: LiveServer, device: Device
) -> None:
    for wait in ("?wait=0.05", "?wait=0", "", "/?wait=0"):
        answer = live.get(f"/api/v1/device/commands{wait}", device_token(device))
        assert (answer.status, answer.read()) == (204, b"")
    device.refresh_from_db()
    assert device.last_seen_at is not None


def test_a_device_hears_of_no_command_but_its_own(live: LiveServer, device: Device) -> None:
    waiting = live.waiting(WAIT, device_token(device))
    CommandFactory(device=DeviceFactory(), command_name="other")
    CommandFactory(device=device, command_name="own")
    assert waiting.answer() == (200, ["own"])


def test_of_two_polls_of_one_device_one_gets_the_command_and_the_other_waits_on(
    live: LiveServer, device: Device
) -> None:
    token = device_token(device)
    older, newer = live.waiting(WAIT, token), live.waiting(WAIT, token)
    CommandFactory(device=device, command_name="one")
    assert newer.answer() == (200, ["one"])
    assert older.is_alive()
    CommandFactory(device=device, command_name="two")
    assert older.answer() == (200, ["two"])


def test_a_poll_whose_device_went_away_takes_nothing_from_the_one_that_is_there(
    live: LiveServer, device: Device
) -> None:
    token = device_token(device)
    waiting = live.waiting(WAIT, token)
    leaving = http.client.HTTPConnection("127.0.0.1", live.port)
    leaving.request("GET", WAIT, headers={"Authorization": f"Bearer {token}"})
    until(lambda: len(live.live.waiters) == 2)
    leaving.close()
    until(lambda: len(live.live.waiters) == 1)
    CommandFactory(device=device, command_name="ping")
    assert waiting.answer() == (200, ["ping"])


def test_an_expired_command_wakes_nobody_who_would_get_it(live: LiveServer, device: Device) -> None:
    waiting = live.waiting("/api/v1/device/commands?wait=0.3", device_token(device))
    past = timezone.now() - timedelta(hours=2)
    CommandFactory(device=device, created_at=past)
    assert waiting.answer() == (204, [])


def test_a_token_that_is_revoked_during_the_wait_gets_no_command(
    live: LiveServer, device: Device
) -> None:
    row, token = device_token_and_row(device)
    waiting = live.waiting(WAIT, token)
    device_services.revoke_token(row)
    CommandFactory(device=device)
    waiting.join(20)
    assert waiting.status == 401
    assert Command.objects.get().attempts == 0


def test_a_wait_that_is_none_is_refused(live: LiveServer, device: Device) -> None:
    token = device_token(device)
    for wait in ("31", "-1", "1e1", "abc", "", "0x1", "%D9%A1"):
        answer = live.get(f"/api/v1/device/commands?wait={wait}", token)
        assert answer.status == 422, wait
        assert b'"/wait"' in answer.read()


def test_strangers_are_refused_as_the_site_refuses_them(live: LiveServer, owner, device) -> None:
    assert live.get(WAIT).status == 401
    refused = live.get(WAIT, device_token(device)[:-1] + "x")
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert live.get(WAIT, user_token(owner)).status == 403
    assert live.get("/api/v1/devices", device_token(device)).status == 404
    assert live.get(WAIT, device_token(device), method="POST").status == 405
    # HEAD would claim commands and deliver none.
    assert live.get(WAIT, device_token(device), method="HEAD").status == 405
    assert live.get(WAIT, device_token(device), Host="elsewhere.example").status == 400


def test_a_command_that_came_while_nobody_listened_is_found_when_listening_begins_anew(
    live: LiveServer, device: Device
) -> None:
    waiting = live.waiting(WAIT, device_token(device))
    with connection.cursor() as cursor:
        # It comes unannounced, as one does while PostgreSQL is restarted.
        cursor.execute("ALTER TABLE commands DISABLE TRIGGER commands_tell")
        CommandFactory(device=device, command_name="unheard")
        cursor.execute("ALTER TABLE commands ENABLE TRIGGER commands_tell")
    cut_off()
    assert waiting.answer() == (200, ["unheard"])


def test_the_end_of_the_process_answers_everybody(live: LiveServer, device: Device) -> None:
    waiting = live.waiting(WAIT, device_token(device))
    live.live.end()
    assert waiting.answer() == (204, [])
