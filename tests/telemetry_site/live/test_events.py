"""Event streams of a user's devices."""

import threading
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tokens import services as tokens
from commands import services as command_services
from commands.models import Command
from devices import events, presence
from devices import services as device_services
from devices.models import Device, Watch
from telemetry_site.live import asgi, requests
from telemetry_site.middleware.http import MAX_QUERY_PARAMETERS
from tests.conftest import signed_in
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    create_devices,
    device_token,
    user_token,
    user_token_and_row,
)
from tests.telemetry_site.live.conftest import LiveServer, terminate_listener
from tests.telemetry_site.plans import count_reads


@pytest.fixture
def fast_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the interval of the periodic checks."""
    monkeypatch.setattr(asgi, "HEARTBEAT_SECONDS", 0.02)


def expected_event(event: events.Event) -> tuple[str, dict[str, str]]:
    fields = {"device_id": str(event.device_id)}
    if event.command_id:
        fields["command_id"] = str(event.command_id)
    return event.kind, fields


def test_every_change_of_a_command_is_an_event(
    live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner))
    now = timezone.now()
    command = command_services.create_command(
        device, command_name="ping", payload={}, issued_by=None, now=now
    )
    happened = expected_event(events.Event("command", device.pk, command.pk))
    assert stream.next() == happened
    command_services.claim(device, now=now)
    assert stream.next() == happened
    command_services.record_result(command, status=command_services.Status.EXECUTED, now=now)
    assert stream.next() == happened
    other = CommandFactory(device=device)
    assert stream.next() == expected_event(events.Event("command", device.pk, other.pk))
    command_services.cancel(other, now=now)
    assert stream.next() == expected_event(events.Event("command", device.pk, other.pk))


def test_readings_and_presence_are_published_by_a_web_process(
    live: LiveServer, owner: User, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = live.stream(user_token(owner))
    teller = events.EventPublisher()
    teller.start()
    monkeypatch.setattr(events, "_publisher", lambda: teller)
    monkeypatch.setattr(settings, "IS_WEB_PROCESS", True)
    try:
        events.publish_later("reading", device_id=device.pk)
        assert stream.next() == expected_event(events.Event("reading", device.pk))
        presence.mark_seen(device, now=timezone.now())
        assert stream.next() == expected_event(events.Event("status", device.pk))
    finally:
        teller.stop()


def test_going_offline_is_an_event(live: LiveServer, owner: User, device: Device) -> None:
    Device.objects.update(status="online", last_seen_at="2025-01-01T00:00Z")
    stream = live.stream(user_token(owner))
    assert presence.announce_offline(now=timezone.now()) == [device]
    assert stream.next() == expected_event(events.Event("status", device.pk))


def test_a_user_receives_events_of_their_own_devices_only(
    live: LiveServer, owner: User, stranger: User, device: Device
) -> None:
    theirs = DeviceFactory(user=stranger)
    stream = live.stream(user_token(stranger))
    CommandFactory(device=device)
    own = CommandFactory(device=theirs)
    assert stream.next() == expected_event(events.Event("command", theirs.pk, own.pk))


def test_a_stream_can_be_limited_to_some_devices(
    live: LiveServer, owner: User, device: Device
) -> None:
    token, other = user_token(owner), DeviceFactory(user=owner)
    stream = live.stream(token, device=[other.pk])
    CommandFactory(device=device)
    command = CommandFactory(device=other)
    assert stream.next() == expected_event(events.Event("command", other.pk, command.pk))
    of_a_stranger = DeviceFactory()
    for name in (of_a_stranger.pk, "no-id", "%00"):
        assert live.get(f"/api/v1/events?device={name}", token).status == 404
    many = "&".join([f"device={device.pk}"] * 101)
    assert live.get(f"/api/v1/events?{many}", token).status == 422
    for most in (MAX_QUERY_PARAMETERS, 2000):
        more = "&".join(f"k{number}=1" for number in range(most + 1))
        assert live.get(f"/api/v1/events?{more}", token).status == 400


def test_a_page_can_open_a_stream_with_its_session_from_the_sites_origin_only(
    live: LiveServer, owner_client: Client, device: Device
) -> None:
    cookie = (
        f"{settings.SESSION_COOKIE_NAME}={owner_client.cookies[settings.SESSION_COOKIE_NAME].value}"
    )
    site = f"http://127.0.0.1:{settings.PORT}"
    stream = live.stream(Cookie=cookie, Origin=site)
    headers = stream.response.headers
    assert headers["Access-Control-Allow-Origin"] == site
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
    for origin in ("http://evil.example", f"http://evil.example:{settings.PORT}", "null"):
        refused = live.get("/api/v1/events", Cookie=cookie, Origin=origin)
        assert refused.status == 403
        assert "Access-Control-Allow-Origin" not in refused.headers


def test_a_stream_is_403_for_a_device_and_401_without_a_token(
    live: LiveServer, device: Device
) -> None:
    assert live.get("/api/v1/events").status == 401
    assert live.get("/api/v1/events", device_token(device)).status == 403


def test_a_stream_ends_when_its_token_is_revoked(
    fast_heartbeat: None, live: LiveServer, owner: User, device: Device
) -> None:
    row, token = user_token_and_row(owner)
    stream = live.stream(token)
    tokens.revoke(row)
    assert stream.next() is None


def test_a_stream_ends_when_its_session_ends(
    fast_heartbeat: None, live: LiveServer, owner: User, device: Device
) -> None:
    client = signed_in(owner)
    name = settings.SESSION_COOKIE_NAME
    stream = live.stream(Cookie=f"{name}={client.cookies[name].value}")
    client.post("/sign-out")
    assert stream.next() is None


def test_a_stream_of_a_device_ends_when_the_device_is_deleted(
    fast_heartbeat: None, live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner), device=[device.pk])
    device_services.soft_delete(device, now=timezone.now())
    assert stream.next() is None


def test_events_of_a_new_device_are_in_the_stream_of_all_devices(
    live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner))
    new = DeviceFactory(user=owner)
    command = CommandFactory(device=new)
    assert stream.next() == expected_event(events.Event("command", new.pk, command.pk))


def test_events_of_a_transferred_device_go_to_its_new_owner_only(
    live: LiveServer, owner: User, stranger: User, device: Device
) -> None:
    of_owner, of_stranger = live.stream(user_token(owner)), live.stream(user_token(stranger))
    other = DeviceFactory(user=owner)
    Device.objects.filter(pk=device.pk).update(user=stranger)
    command, last = CommandFactory(device=device), CommandFactory(device=other)
    assert of_stranger.next() == expected_event(events.Event("command", device.pk, command.pk))
    assert of_owner.next() == expected_event(events.Event("command", other.pk, last.pk))


def test_a_deleted_device_has_no_events(live: LiveServer, owner: User, device: Device) -> None:
    stream, other = live.stream(user_token(owner)), DeviceFactory(user=owner)
    command = CommandFactory(device=device)
    assert stream.next() == expected_event(events.Event("command", device.pk, command.pk))
    device_services.soft_delete(device, now=timezone.now())
    Command.objects.update(attempts=1)
    last = CommandFactory(device=other)
    heard = [stream.next()]
    while heard[-1] != expected_event(events.Event("command", other.pk, last.pk)):
        heard.append(stream.next())
    assert len(heard) <= 2, "not after it was deleted"


@pytest.mark.parametrize("devices", [(), (0, 1)])
def test_opening_a_stream_costs_the_same_for_any_number_of_devices(
    db: None, owner: User, devices: tuple[int, ...]
) -> None:
    create_devices(owner, 20_000)
    named = [Device.objects.order_by("pk")[number].pk for number in devices]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/events",
        "query_string": urlencode({"device": named}, doseq=True).encode(),
        "headers": [(b"authorization", f"Bearer {user_token(owner)}".encode())],
    }
    with count_reads() as read:
        for _ in range(8):
            assert requests.subscription(scope) == (owner.pk, frozenset(named))
    assert len(read.statements) <= 8 * 5
    assert read.rows["devices"] <= 8 * len(named)
    assert Watch.objects.count() == 1


def test_streams_do_not_use_the_threads_of_polls(
    live: LiveServer, owner: User, device: Device
) -> None:
    token, blocked = user_token(owner), threading.Event()
    for _ in range(8):
        live.stream(token)
    try:
        for _ in range(asgi.STREAM_THREADS + 1):
            live.in_loop(live.live.stream_database.run(blocked.wait))
        late = live.send("/api/v1/events", token)
        answer = live.get("/api/v1/device/commands?wait=0", device_token(device))
        assert answer.status == 204
    finally:
        blocked.set()
    assert late.getresponse().status == 200


def test_after_a_lost_database_connection_a_stream_sends_ready(
    live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner))
    terminate_listener()
    assert stream.next() == ("ready", {})


def test_a_shutdown_ends_every_stream(live: LiveServer, owner: User) -> None:
    stream = live.stream(user_token(owner))
    live.live.stop()
    assert stream.next() is None
