"""No device, user, address or idle connection keeps the others from waiting."""

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
from tests.telemetry_site.live.conftest import PATIENCE, LiveServer, until

WAIT = "/api/v1/device/commands?wait=30"


def is_refused(answer: Any, status: int) -> bool:
    """Whether the answer is a problem that says when to come again, and ends the connection."""
    told = json.loads(answer.read())
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "15"
    assert answer.headers["Connection"] == "close"
    return answer.status == told["status"] == status


def is_closed(line: socket.socket) -> bool:
    """Whether the server ends the connection without an answer."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_one_token_cannot_take_the_places_of_other_devices(
    live: LiveServer, device: Device, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a test waits for an answer.
    monkeypatch.setattr(asgi, "_seconds", lambda scope: 3600.0)
    settings.LIVE_CONNECTIONS = settings.LIVE_CONNECTIONS_PER_USER = 6
    token, other = device_token(device), DeviceFactory()
    polls: list[http.client.HTTPConnection] = []
    for _ in range(12):
        if len(polls) == long_polls.POLLS_PER_DEVICE:
            polls.append(live.ask(WAIT, token))
            # The oldest is answered as when its time is over.
            assert polls.pop(0).getresponse().status == 204
        else:
            polls.append(live.ask(WAIT, token))
            until(lambda: len(live.live.waiters) == len(polls))
    assert len(live.live.waiters) == long_polls.POLLS_PER_DEVICE
    assert live.live.waiters.ids() == [device.pk]
    waiting = live.waiting(WAIT, device_token(other))
    CommandFactory(device=other, command_name="ping")
    assert waiting.answer() == (200, ["ping"])


def test_the_newest_poll_of_a_device_gets_the_command_when_an_older_one_was_ended(
    live: LiveServer, device: Device
) -> None:
    token = device_token(device)
    polls = [live.waiting(WAIT, token) for _ in range(long_polls.POLLS_PER_DEVICE)]
    newest = live.ask(WAIT, token)
    assert polls[0].answer() == (204, [])
    CommandFactory(device=device, command_name="ping")
    assert json.loads(newest.getresponse().read())["results"][0]["command_name"] == "ping"
    assert all(poll.is_alive() for poll in polls[1:])


def test_the_devices_and_streams_of_one_user_leave_places_to_others(
    live: LiveServer, owner: User, device: Device, settings: Any
) -> None:
    settings.LIVE_CONNECTIONS_PER_USER = 2
    live.waiting(WAIT, device_token(device))
    stream = live.ask("/api/v1/events", user_token(owner))
    assert stream.getresponse().status == 200
    assert is_refused(live.get(WAIT, device_token(DeviceFactory(user=owner))), 429)
    assert is_refused(live.get("/api/v1/events", user_token(owner)), 429)
    live.waiting(WAIT, device_token(DeviceFactory()))
    stream.close()
    until(lambda: not live.live.streams._of)
    live.stream(user_token(owner))


def test_streams_of_one_user_are_limited(
    live: LiveServer, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "STREAMS_PER_USER", 1)
    live.stream(user_token(owner))
    assert is_refused(live.get("/api/v1/events", user_token(owner)), 429)
    live.stream(user_token(DeviceFactory().user))


def test_a_client_address_is_limited_before_it_is_asked_who_it_is(
    live: LiveServer, device: Device, settings: Any
) -> None:
    settings.LIVE_CONNECTIONS_PER_ADDRESS = 1
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    token = device_token(device)
    live.get(WAIT + "&limit=1", "", **{"X-Forwarded-For": "192.0.2.1"})
    waiting = live.ask(WAIT, token, **{"X-Forwarded-For": "192.0.2.1"})
    until(lambda: len(live.live.waiters) == 1)
    assert is_refused(live.get(WAIT, **{"X-Forwarded-For": "192.0.2.1"}), 429)
    # What stands before the address that our proxy has seen, the client may have made up.
    made_up = {"X-Forwarded-For": "192.0.2.7, 192.0.2.1"}
    assert is_refused(live.get(WAIT, token, **made_up), 429)
    assert live.get(WAIT, **{"X-Forwarded-For": "192.0.2.2"}).status == 401
    CommandFactory(device=device)
    assert waiting.getresponse().status == 200
    assert live.get(WAIT, **{"X-Forwarded-For": "192.0.2.1"}).status == 401


def test_no_more_wait_than_the_process_may_hold(
    live: LiveServer, device: Device, settings: Any
) -> None:
    settings.LIVE_CONNECTIONS = 1
    live.waiting(WAIT, device_token(device))
    assert is_refused(live.get(WAIT, device_token(DeviceFactory())), 503)


def test_idle_connections_give_way_to_new_ones_the_oldest_first(
    live: LiveServer, device: Device
) -> None:
    live.server.config.most = 4
    waiting = live.waiting(WAIT, device_token(device))
    idle = [live.connect(b"GET / HTTP/1.1\r\n") for _ in range(6)]
    assert all(is_closed(line) for line in idle[:3])
    until(lambda: len(live.server.server_state.connections) == 4)
    other = DeviceFactory()
    live.waiting(WAIT, device_token(other))
    CommandFactory(device=device, command_name="ping")
    assert waiting.answer() == (200, ["ping"])


def test_a_connection_is_refused_when_all_of_them_wait(live: LiveServer, device: Device) -> None:
    live.server.config.most = 1
    live.waiting(WAIT, device_token(device))
    answer = live.connect().makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 15\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /api/v1/device/comm",
        # After an answer, the head of the next request.
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api",
        # A request that is answered before its body has come.
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nxxx",
    ],
)
def test_a_client_that_does_not_send_a_whole_request_is_not_waited_for(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.0)
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    line = live.connect(sent)
    if b"nothing" in sent:
        until(lambda: live.server.server_state.total_requests)
        line.sendall(b"x")
    until(lambda: not live.server.server_state.connections)


def test_a_waiting_device_is_not_taken_for_an_idle_connection(
    live: LiveServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.0)
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    monkeypatch.setattr(server, "UNREAD_SECONDS", 0.0)
    waiting = live.waiting(WAIT, device_token(device))
    swept = live.connect(b"GET")
    assert is_closed(swept)
    CommandFactory(device=device, command_name="ping")
    assert waiting.answer() == (200, ["ping"])


def test_a_client_that_does_not_read_its_stream_is_closed(
    live: LiveServer, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNREAD_SECONDS", 0.0)
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    line = socket.socket()
    live.opened.callback(line.close)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", live.port))
    line.sendall(
        b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n"
        b"Authorization: Bearer " + user_token(owner).encode() + b"\r\n\r\n"
    )
    until(lambda: live.live.streams._of)

    async def happen() -> None:
        for _ in range(900):
            live.live.streams.hear(Event("reading", uuid4(), None, owner.pk))

    def is_ended() -> bool:
        live.in_loop(happen()).result(PATIENCE)
        return not live.live.streams._of

    until(is_ended)
    until(lambda: not live.server.server_state.connections)


def test_a_client_that_sends_on_and_on_before_its_answer_is_closed(
    live: LiveServer, device: Device
) -> None:
    line = live.connect(
        f"GET {WAIT} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {device_token(device)}\r\n\r\n".encode()
    )
    until(lambda: len(live.live.waiters) == 1)
    line.settimeout(0.1)
    with suppress(OSError):
        line.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
    until(lambda: not live.live.waiters)
