"""Limits of open connections: no device, user, IP address or idle connection blocks the others."""

import http.client
import json
import socket
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from devices.events import Event
from devices.models import Device
from telemetry_site.live import asgi, connection_limits, long_polls, server
from tests.factories import CommandFactory, DeviceFactory, device_token, user_token
from tests.telemetry_site.live.conftest import TIMEOUT_SECONDS, LiveServer, wait_until

WAIT = "/api/v1/device/commands?wait=30"


def is_refused(answer: Any, status: int) -> bool:
    """Return whether the response is a problem with Retry-After that closes the connection."""
    told = json.loads(answer.read())
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "15"
    assert answer.headers["Connection"] == "close"
    return answer.status == told["status"] == status


def is_closed(line: socket.socket) -> bool:
    """Return whether the server closes the connection without a response."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_polls_of_one_token_are_limited(
    live: LiveServer, device: Device, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a test waits for a response.
    monkeypatch.setattr(asgi, "_wait_seconds", lambda scope: 3600.0)
    settings.LIVE_CONNECTIONS = settings.LIVE_CONNECTIONS_PER_USER = 6
    token, other = device_token(device), DeviceFactory()
    polls: list[http.client.HTTPConnection] = []
    for _ in range(12):
        if len(polls) == long_polls.MAX_POLLS_PER_DEVICE:
            polls.append(live.send(WAIT, token))
            # The oldest poll ends as after its time.
            assert polls.pop(0).getresponse().status == 204
        else:
            polls.append(live.send(WAIT, token))
            wait_until(lambda: len(live.live.polls) == len(polls))
    assert len(live.live.polls) == long_polls.MAX_POLLS_PER_DEVICE
    assert live.live.polls.device_ids() == [device.pk]
    waiting = live.start_poll(WAIT, device_token(other))
    CommandFactory(device=other, command_name="ping")
    assert waiting.result() == (200, ["ping"])


def test_after_the_oldest_poll_ended_the_newest_poll_receives_the_command(
    live: LiveServer, device: Device
) -> None:
    token = device_token(device)
    polls = [live.start_poll(WAIT, token) for _ in range(long_polls.MAX_POLLS_PER_DEVICE)]
    newest = live.send(WAIT, token)
    assert polls[0].result() == (204, [])
    CommandFactory(device=device, command_name="ping")
    assert json.loads(newest.getresponse().read())["results"][0]["command_name"] == "ping"
    assert all(poll.is_alive() for poll in polls[1:])


def test_connections_of_one_user_are_limited(
    live: LiveServer, owner: User, device: Device, settings: Any
) -> None:
    settings.LIVE_CONNECTIONS_PER_USER = 2
    live.start_poll(WAIT, device_token(device))
    stream = live.send("/api/v1/events", user_token(owner))
    assert stream.getresponse().status == 200
    assert is_refused(live.get(WAIT, device_token(DeviceFactory(user=owner))), 429)
    assert is_refused(live.get("/api/v1/events", user_token(owner)), 429)
    live.start_poll(WAIT, device_token(DeviceFactory()))
    stream.close()
    wait_until(lambda: not live.live.streams._by_user)
    live.stream(user_token(owner))


def test_streams_of_one_user_are_limited(
    live: LiveServer, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MAX_STREAMS_PER_USER", 1)
    live.stream(user_token(owner))
    assert is_refused(live.get("/api/v1/events", user_token(owner)), 429)
    live.stream(user_token(DeviceFactory().user))


def test_connections_of_one_ip_address_are_limited_before_authentication(
    live: LiveServer, device: Device, settings: Any
) -> None:
    settings.LIVE_CONNECTIONS_PER_ADDRESS = 1
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    token = device_token(device)
    live.get(WAIT + "&limit=1", "", **{"X-Forwarded-For": "192.0.2.1"})
    waiting = live.send(WAIT, token, **{"X-Forwarded-For": "192.0.2.1"})
    wait_until(lambda: len(live.live.polls) == 1)
    assert is_refused(live.get(WAIT, **{"X-Forwarded-For": "192.0.2.1"}), 429)
    # The client may forge every address before the one that the trusted proxy added.
    made_up = {"X-Forwarded-For": "192.0.2.7, 192.0.2.1"}
    assert is_refused(live.get(WAIT, token, **made_up), 429)
    assert live.get(WAIT, **{"X-Forwarded-For": "192.0.2.2"}).status == 401
    CommandFactory(device=device)
    assert waiting.getresponse().status == 200
    assert live.get(WAIT, **{"X-Forwarded-For": "192.0.2.1"}).status == 401


def test_the_total_number_of_polls_is_limited(
    live: LiveServer, device: Device, settings: Any
) -> None:
    settings.LIVE_CONNECTIONS = 1
    live.start_poll(WAIT, device_token(device))
    assert is_refused(live.get(WAIT, device_token(DeviceFactory())), 503)


def test_new_connections_replace_the_oldest_idle_ones(live: LiveServer, device: Device) -> None:
    live.server.config.max_connections = 4
    waiting = live.start_poll(WAIT, device_token(device))
    idle = [live.connect(b"GET / HTTP/1.1\r\n") for _ in range(6)]
    assert all(is_closed(line) for line in idle[:3])
    wait_until(lambda: len(live.server.server_state.connections) == 4)
    other = DeviceFactory()
    live.start_poll(WAIT, device_token(other))
    CommandFactory(device=device, command_name="ping")
    assert waiting.result() == (200, ["ping"])


def test_a_connection_is_rejected_if_no_other_is_idle(live: LiveServer, device: Device) -> None:
    live.server.config.max_connections = 1
    live.start_poll(WAIT, device_token(device))
    answer = live.connect().makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 15\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /api/v1/device/comm",
        # After a response, the head of the next request.
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api",
        # A request whose response is sent before its body is complete.
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nxxx",
    ],
)
def test_an_incomplete_request_is_closed_after_a_timeout(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_SECONDS", 0.0)
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    line = live.connect(sent)
    if b"nothing" in sent:
        wait_until(lambda: live.server.server_state.total_requests)
        line.sendall(b"x")
    wait_until(lambda: not live.server.server_state.connections)


def test_a_poll_is_not_closed_as_an_idle_connection(
    live: LiveServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_SECONDS", 0.0)
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    monkeypatch.setattr(server, "UNREAD_TIMEOUT_SECONDS", 0.0)
    waiting = live.start_poll(WAIT, device_token(device))
    swept = live.connect(b"GET")
    assert is_closed(swept)
    CommandFactory(device=device, command_name="ping")
    assert waiting.result() == (200, ["ping"])


def test_a_client_that_does_not_read_its_stream_is_closed(
    live: LiveServer, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNREAD_TIMEOUT_SECONDS", 0.0)
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    line = socket.socket()
    live.opened.callback(line.close)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", live.port))
    line.sendall(
        b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n"
        b"Authorization: Bearer " + user_token(owner).encode() + b"\r\n\r\n"
    )
    wait_until(lambda: live.live.streams._by_user)

    async def happen() -> None:
        for _ in range(900):
            live.live.streams.publish(Event("reading", uuid4(), None, owner.pk))

    def is_ended() -> bool:
        live.in_loop(happen()).result(TIMEOUT_SECONDS)
        return not live.live.streams._by_user

    wait_until(is_ended)
    wait_until(lambda: not live.server.server_state.connections)


def test_a_client_that_keeps_sending_during_a_poll_is_closed(
    live: LiveServer, device: Device
) -> None:
    line = live.connect(
        f"GET {WAIT} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {device_token(device)}\r\n\r\n".encode()
    )
    wait_until(lambda: len(live.live.polls) == 1)
    line.settimeout(0.1)
    with suppress(OSError):
        line.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
    wait_until(lambda: not live.live.polls)
