"""Streams of what happens to a user's devices."""

from unittest import mock

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from commands import lifecycle
from devices import enrolment, events, presence
from devices.models import Device, Watch
from telemetry_site.live import application
from telemetry_site.middleware import PARAMETERS_LIMIT
from tests.conftest import signed_in
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    device_token,
    user_token,
    user_token_and_row,
)
from tests.site.live.conftest import LiveServer, cut_off, until


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked up every few seconds is looked up all the time."""
    monkeypatch.setattr(application, "HEARTBEAT", 0.02)


def is_watched(device: Device) -> bool:
    return Watch.objects.filter(device=device).exists()


def told(event: events.Event) -> tuple[str, dict[str, str]]:
    fields = {"device_id": str(event.device_id)}
    if event.command_id:
        fields["command_id"] = str(event.command_id)
    return event.kind, fields


def test_the_life_of_a_command_is_told(live: LiveServer, owner: User, device: Device) -> None:
    stream = live.stream(user_token(owner))
    now = timezone.now()
    command = lifecycle.issue(device, command_name="ping", payload={}, issued_by=None, now=now)
    happened = told(events.Event("command", device.pk, command.pk))
    assert stream.next() == happened
    lifecycle.claim(device, now=now)
    assert stream.next() == happened
    lifecycle.finish(command, status=lifecycle.Status.EXECUTED, now=now)
    assert stream.next() == happened
    other = CommandFactory(device=device)
    assert stream.next() == told(events.Event("command", device.pk, other.pk))
    lifecycle.cancel(other, now=now)
    assert stream.next() == told(events.Event("command", device.pk, other.pk))


def test_readings_and_contact_are_told_by_a_process_that_serves_requests(
    live: LiveServer, owner: User, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = live.stream(user_token(owner))
    teller = events.Teller()
    teller.start()
    monkeypatch.setattr(events, "_teller", lambda: teller)
    monkeypatch.setattr(settings, "SERVES_REQUESTS", True)
    try:
        events.note("reading", device_id=device.pk)
        assert stream.next() == told(events.Event("reading", device.pk))
        presence.mark_seen(device, now=timezone.now())
        assert stream.next() == told(events.Event("status", device.pk))
    finally:
        teller.stop()


def test_falling_silent_is_told(live: LiveServer, owner: User, device: Device) -> None:
    Device.objects.update(status="online", last_seen_at="2025-01-01T00:00Z")
    stream = live.stream(user_token(owner))
    assert presence.announce_offline(now=timezone.now()) == [device]
    assert stream.next() == told(events.Event("status", device.pk))


def test_nobody_hears_of_devices_that_are_not_theirs(
    live: LiveServer, owner: User, stranger: User, device: Device
) -> None:
    theirs = DeviceFactory(user=stranger)
    stream = live.stream(user_token(stranger))
    CommandFactory(device=device)
    own = CommandFactory(device=theirs)
    assert stream.next() == told(events.Event("command", theirs.pk, own.pk))


def test_a_stream_may_be_of_some_devices_only(
    live: LiveServer, owner: User, device: Device
) -> None:
    token, other = user_token(owner), DeviceFactory(user=owner)
    stream = live.stream(token, device=[other.pk])
    CommandFactory(device=device)
    command = CommandFactory(device=other)
    assert stream.next() == told(events.Event("command", other.pk, command.pk))
    of_a_stranger = DeviceFactory()
    for name in (of_a_stranger.pk, "no-id", "%00"):
        assert live.get(f"/api/v1/events?device={name}", token).status == 404
    many = "&".join([f"device={device.pk}"] * 101)
    assert live.get(f"/api/v1/events?{many}", token).status == 422
    for most in (PARAMETERS_LIMIT, 2000):
        more = "&".join(f"k{number}=1" for number in range(most + 1))
        assert live.get(f"/api/v1/events?{more}", token).status == 400


def test_a_page_listens_with_its_session_and_from_the_sites_origin_only(
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


def test_devices_and_strangers_are_refused(live: LiveServer, device: Device) -> None:
    assert live.get("/api/v1/events").status == 401
    assert live.get("/api/v1/events", device_token(device)).status == 403


def test_a_stream_ends_with_the_token(
    often: None, live: LiveServer, owner: User, device: Device
) -> None:
    row, token = user_token_and_row(owner)
    stream = live.stream(token)
    tokens.revoke(row)
    assert stream.next() is None


def test_a_stream_ends_with_the_session(
    often: None, live: LiveServer, owner: User, device: Device
) -> None:
    client = signed_in(owner)
    name = settings.SESSION_COOKIE_NAME
    stream = live.stream(Cookie=f"{name}={client.cookies[name].value}")
    client.post("/sign-out")
    assert stream.next() is None


def test_a_stream_of_a_device_ends_with_it(
    often: None, live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner), device=[device.pk])
    enrolment.decommission(device, now=timezone.now())
    assert stream.next() is None


def test_a_new_device_joins_the_stream_of_all(
    often: None, live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner))
    new = DeviceFactory(user=owner)
    until(lambda: is_watched(new))
    command = CommandFactory(device=new)
    assert stream.next() == told(events.Event("command", new.pk, command.pk))


def test_streams_of_one_user_are_limited(live: LiveServer, owner: User) -> None:
    token = user_token(owner)
    with mock.patch.object(application, "STREAMS_PER_USER", 1):
        live.stream(token)
        refused = live.get("/api/v1/events", token)
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "15"


def test_a_stream_that_was_cut_off_from_the_database_says_that_it_may_have_missed_something(
    live: LiveServer, owner: User, device: Device
) -> None:
    stream = live.stream(user_token(owner))
    cut_off()
    assert stream.next() == ("ready", {})


def test_the_end_of_the_process_ends_every_stream(live: LiveServer, owner: User) -> None:
    stream = live.stream(user_token(owner))
    live.live.end()
    assert stream.next() is None
