"""The web server's application, served by a real granian in a thread of the tests'."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from telemetry_site.server.application import Application
from tests.e2e.sites import free_port

PATIENCE = 120
"""Seconds that only a failure waits for."""


class ServedSite:
    """A running server, and how to send requests to it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.application = Application()
        self.opened = ExitStack()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.server = Server(
            self.application,
            address="127.0.0.1",
            port=self.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=2048,
            backpressure=2048,
            log_enabled=False,
        )
        serving = asyncio.ensure_future(self.server.serve())
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                await asyncio.sleep(0.01)
        self.ready.set()
        await serving

    def stop(self) -> None:
        """End it, and all its threads with their connections to the database."""
        self.opened.close()
        self.loop.call_soon_threadsafe(self.server.stop)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.application.shutdown()

    def send(self, raw: bytes, *, receive_buffer: int = 0) -> socket.socket:
        """Return a connection over which these bytes have been sent."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self.port))
        self.opened.callback(connection.close)
        connection.sendall(raw)
        return connection

    def request(
        self, method: str, path: str, body: Any = None, token: str = "", **headers: str
    ) -> "Response":
        """Send a request over a connection of its own and return the whole response."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return read(self.send(head(method, path, body, token, **headers) + (body or b"")))


class Response:
    """A response as it came."""

    def __init__(self, raw: bytes) -> None:
        top, _, self.body = raw.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines)


def head(
    method: str, path: str, body: bytes | None = None, token: str = "", **headers: str
) -> bytes:
    """The head of a request; with `body` its length is told, unless it comes in chunks."""
    headers = {"Host": "localhost", "Connection": "close", **headers}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers.setdefault("Content_Type", "application/json")
        if "Transfer_Encoding" not in headers:
            headers.setdefault("Content_Length", str(len(body)))
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def read(connection: socket.socket) -> Response:
    """The response, up to the end of the connection."""
    raw = b""
    while piece := connection.recv(65536):
        raw += piece
    connection.close()
    return Response(raw)


def chunked(body: bytes, size: int = 65536) -> bytes:
    """A body in chunks."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def until(true: Callable[[], object]) -> None:
    """Return when it is true, within PATIENCE."""
    never = threading.Event()
    for _ in range(PATIENCE * 200):
        if true():
            return
        never.wait(0.005)
    raise AssertionError("it has not become true")


@pytest.fixture
def served(transactional_db: None) -> Iterator[ServedSite]:
    running = ServedSite()
    yield running
    running.stop()
