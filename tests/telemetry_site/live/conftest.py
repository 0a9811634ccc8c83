"""The live process, in a thread of the tests': real HTTP, real PostgreSQL."""

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

PATIENCE = 120
"""Seconds that only a failure waits for."""


class Listening(LiveApplication):
    """Tells when it has begun to hear what happens."""

    def __init__(self) -> None:
        super().__init__()
        self.hears = threading.Event()

    async def _look_again(self) -> None:
        self.loop = asyncio.get_running_loop()
        await super()._look_again()
        self.hears.set()


class LiveServer:
    """A running one, and how to ask it."""

    def __init__(self) -> None:
        self.live = Listening()
        self.server = Server(self.live)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, args=[[self.socket]])
        self.opened = ExitStack()

    def start(self) -> None:
        self.thread.start()
        until(lambda: self.server.started)
        # A stream that is opened earlier is told `ready` twice.
        assert self.live.hears.wait(PATIENCE)

    def stop(self) -> None:
        self.live.end()
        self.server.should_exit = True
        self.opened.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.socket.close()

    def in_loop(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have the server's event loop run this, too."""
        return asyncio.run_coroutine_threadsafe(work, self.live.loop)

    def get(
        self, path: str, token: str = "", *, method: str = "GET", **headers: str
    ) -> http.client.HTTPResponse:
        """The beginning of the answer; whoever wants the rest reads it."""
        response = self.ask(path, token, method=method, **headers).getresponse()
        self.opened.callback(response.close)
        return response

    def ask(
        self, path: str, token: str = "", *, method: str = "GET", **headers: str
    ) -> http.client.HTTPConnection:
        """A connection over which a request was sent."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.opened.callback(line.close)
        line.request(method, path, headers=headers)
        return line

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A connection over which nothing was sent but this."""
        line = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.opened.callback(line.close)
        line.sendall(sent)
        return line

    def waiting(self, path: str, token: str) -> "Waiting":
        """An answer that is being waited for, once the process knows that it is."""
        before = len(self.live.waiters)
        waiting = Waiting(lambda: self.get(path, token))
        until(lambda: len(self.live.waiters) > before)
        return waiting

    def stream(self, token: str = "", *, device: Any = (), **headers: str) -> "Events":
        """A stream of events, from its first one on."""
        query = urlencode([("device", one) for one in device])
        events = Events(self.get(f"/api/v1/events?{query}", token, **headers))
        assert events.next() == ("ready", {})
        return events


class Waiting(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, ask: Callable[[], http.client.HTTPResponse]) -> None:
        super().__init__(daemon=True)
        self.ask = ask
        self.start()

    def run(self) -> None:
        response = self.ask()
        with response:
            self.status, self.body = response.status, response.read()

    def answer(self) -> tuple[int, Any]:
        """The status, and the names of the commands in the answer."""
        self.join(PATIENCE)
        assert not self.is_alive(), "nobody has answered"
        results = json.loads(self.body)["results"] if self.body else []
        return self.status, [command["command_name"] for command in results]


class Events:
    """What a stream tells."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        assert response.status == 200, response.read()
        self.response = response

    def next(self) -> tuple[str, dict[str, str]] | None:
        """The next event; None when there will be no more."""
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


def until(true: Callable[[], Any]) -> None:
    """Return when it is true; no longer than PATIENCE."""
    never = threading.Event()
    for _ in range(PATIENCE * 200):
        if true():
            return
        never.wait(0.005)
    raise AssertionError("it has not become true")


def cut_off() -> None:
    """End the connection over which the process listens, as a restart of PostgreSQL does."""
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
