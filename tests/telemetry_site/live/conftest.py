"""The live process in a thread of the tests: real HTTP, real PostgreSQL."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection

from telemetry_site.live.asgi import LiveApplication
from telemetry_site.live.server import Server

TIMEOUT_SECONDS = 120
"""Only a failing test waits this many seconds."""


class ListeningApplication(LiveApplication):
    """Signals when it has started to receive events."""

    def __init__(self) -> None:
        super().__init__()
        self.hears = threading.Event()

    async def _on_reconnect(self) -> None:
        self.loop = asyncio.get_running_loop()
        await super()._on_reconnect()
        self.hears.set()


class LiveServer:
    """A running live process, and requests to it."""

    def __init__(self) -> None:
        self.live = ListeningApplication()
        self.server = Server(self.live)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, args=[[self.socket]])
        self.opened = ExitStack()

    def start(self) -> None:
        self.thread.start()
        wait_until(lambda: self.server.started)
        # A stream that is opened earlier receives `ready` twice.
        assert self.live.hears.wait(TIMEOUT_SECONDS)

    def stop(self) -> None:
        self.live.stop()
        self.server.should_exit = True
        self.opened.close()
        self.thread.join(TIMEOUT_SECONDS)
        assert not self.thread.is_alive()
        self.socket.close()

    def in_loop(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run this in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.live.loop)

    def get(
        self, path: str, token: str = "", *, method: str = "GET", **headers: str
    ) -> http.client.HTTPResponse:
        """Return the response after its headers; the test reads the body."""
        response = self.send(path, token, method=method, **headers).getresponse()
        self.opened.callback(response.close)
        return response

    def send(
        self, path: str, token: str = "", *, method: str = "GET", **headers: str
    ) -> http.client.HTTPConnection:
        """Send a request and return its connection."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.opened.callback(line.close)
        line.request(method, path, headers=headers)
        return line

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Open a connection and send only these bytes."""
        line = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
        self.opened.callback(line.close)
        line.sendall(sent)
        return line

    def start_poll(self, path: str, token: str) -> "PendingPoll":
        """Start a long poll and return it when the process has registered it."""
        before = len(self.live.polls)
        waiting = PendingPoll(lambda: self.get(path, token))
        wait_until(lambda: len(self.live.polls) > before)
        return waiting

    def stream(self, token: str = "", *, device: Any = (), **headers: str) -> "Events":
        """Open an event stream and read its first event."""
        query = urlencode([("device", one) for one in device])
        events = Events(self.get(f"/api/v1/events?{query}", token, **headers))
        assert events.next() == ("ready", {})
        return events


class PendingPoll(threading.Thread):
    """A request in its own thread."""

    def __init__(self, ask: Callable[[], http.client.HTTPResponse]) -> None:
        super().__init__(daemon=True)
        self.ask = ask
        self.start()

    def run(self) -> None:
        response = self.ask()
        with response:
            self.status, self.body = response.status, response.read()

    def result(self) -> tuple[int, Any]:
        """Return the status, and the names of the commands in the response."""
        self.join(TIMEOUT_SECONDS)
        assert not self.is_alive(), "there is no response"
        results = json.loads(self.body)["results"] if self.body else []
        return self.status, [command["command_name"] for command in results]


class Events:
    """The events of a stream."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        assert response.status == 200, response.read()
        self.response = response

    def next(self) -> tuple[str, dict[str, str]] | None:
        """Return the next event; None at the end of the stream."""
        kind = ""
        for line in self.response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind:
                return kind, json.loads(value)
        return None

    def close(self) -> None:
        self.response.close()


def wait_until(true: Callable[[], Any]) -> None:
    """Wait until the condition is true, at most TIMEOUT_SECONDS."""
    never = threading.Event()
    for _ in range(TIMEOUT_SECONDS * 200):
        if true():
            return
        never.wait(0.005)
    raise AssertionError("the condition did not become true in time")


def terminate_listener() -> None:
    """End the connection on which the process listens, as a restart of PostgreSQL does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query ~ '^(LISTEN|SELECT$)'"
        )
        assert cursor.rowcount == 1


@pytest.fixture
def live(transactional_db: None) -> Iterator[LiveServer]:
    running = LiveServer()
    running.start()
    yield running
    running.stop()
