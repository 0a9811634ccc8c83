"""The application of the web server, served by a real granian in a thread of the tests."""

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

TIMEOUT_SECONDS = 120
"""Only a failing test waits this many seconds."""


class ServedSite:
    """A running server, and requests to it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.application = Application()
        self.opened = ExitStack()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(TIMEOUT_SECONDS)

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
        """Stop it with all its threads and their database connections."""
        self.opened.close()
        self.loop.call_soon_threadsafe(self.server.stop)
        self.thread.join(TIMEOUT_SECONDS)
        assert not self.thread.is_alive()
        self.application.shutdown()

    def send(self, raw: bytes, *, receive_buffer: int = 0) -> socket.socket:
        """Send these bytes on a new connection and return it."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(("127.0.0.1", self.port))
        self.opened.callback(connection.close)
        connection.sendall(raw)
        return connection

    def request(
        self, method: str, path: str, body: Any = None, token: str = "", **headers: str
    ) -> "Response":
        """Send a request on a new connection and return the whole response."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return read_response(
            self.send(request_head(method, path, body, token, **headers) + (body or b""))
        )


class Response:
    """A parsed response."""

    def __init__(self, raw: bytes) -> None:
        top, _, self.body = raw.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines)


def request_head(
    method: str, path: str, body: bytes | None = None, token: str = "", **headers: str
) -> bytes:
    """Return the head of a request. With `body` it has a Content-Length, unless it is chunked."""
    headers = {"Host": "localhost", "Connection": "close", **headers}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers.setdefault("Content_Type", "application/json")
        if "Transfer_Encoding" not in headers:
            headers.setdefault("Content_Length", str(len(body)))
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def read_response(connection: socket.socket) -> Response:
    """Read the response to the end of the connection."""
    raw = b""
    while piece := connection.recv(65536):
        raw += piece
    connection.close()
    return Response(raw)


def chunk(body: bytes, size: int = 65536) -> bytes:
    """Return the body in chunks."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def wait_until(true: Callable[[], object]) -> None:
    """Wait until the condition is true, at most TIMEOUT_SECONDS."""
    never = threading.Event()
    for _ in range(TIMEOUT_SECONDS * 200):
        if true():
            return
        never.wait(0.005)
    raise AssertionError("the condition did not become true in time")


@pytest.fixture
def served(transactional_db: None) -> Iterator[ServedSite]:
    running = ServedSite()
    yield running
    running.stop()
