"""A small HTTP server with the parts of the API that the examples use, and the example device."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.examples.computer import TOKEN, this_computer

TIMEOUT_SECONDS = 120
"""The time limit of every wait. Only a failing test waits this long."""


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """The server. It keeps its port over a stop, so that the device reconnects to it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.readings: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.numbers = count()
        self.results: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}  # fixed responses by method
        self.requested, self.may_answer = threading.Event(), threading.Event()
        self.waiting, self.command_issued = threading.Event(), threading.Event()
        self.may_answer.set()
        self.live = False  # whether the site has a live URL and long polls wait
        self.port = 0
        self.start()

    def start(self) -> None:
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.site = self
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.005,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: Request) -> tuple[int, Any]:
        path, _, query = request.path.partition("?")
        parameters = {
            name: value for name, _, value in (one.partition("=") for one in query.split("&"))
        }
        route = (request.method, path)
        if route == ("GET", "/api/v1/device"):
            return 200, {"live_url": self.url if self.live else None}
        if "wait" in parameters and self.live and not self.commands:
            self.waiting.set()
            self.command_issued.wait(float(parameters["wait"]))
        if route == ("POST", "/api/v1/device/telemetry"):
            sent = request.json
            return self.accept(sent if isinstance(sent, list) else sent["readings"])
        if route == ("GET", "/api/v1/device/commands"):
            limit = int(parameters.get("limit", 50))
            claimed, self.commands = self.commands[:limit], self.commands[limit:]
            self.command_issued.clear()
            return (200, {"results": claimed}) if claimed else (204, None)
        if request.method == "PATCH":
            path, _, command = request.path.rpartition("/")
            if path == "/api/v1/device/commands":
                if command in self.results:
                    return 409, {"status": 409, "detail": "already finished"}
                self.results[command] = request.json
                return 200, request.json
        return 404, {"status": 404, "detail": "no such page"}

    def accept(self, readings: list[dict[str, Any]]) -> tuple[int, Any]:
        faults = [
            {"index": index, "code": code, "detail": "one of two faults"}
            for index, reading in enumerate(readings)
            if reading["telemetry_type"] == "poison"
            for code in ("poison", "spoilt")
        ]
        valid = [reading for reading in readings if reading["telemetry_type"] != "poison"]
        if not valid:
            return 422, {"status": 422, "errors": faults}
        new = [reading for reading in valid if reading not in self.readings]
        self.readings += new
        return 201, {
            "accepted": len(new),
            "duplicates": len(valid) - len(new),
            "rejected": faults,
            "pending_commands": len(self.commands),
        }

    def issue_command(self, name: str, payload: Any = None) -> str:
        identity = f"command-{next(self.numbers)}"
        self.commands.append(
            {
                "id": identity,
                "command_name": name,
                "payload": {} if payload is None else payload,
                "status": "pending",
            }
        )
        self.command_issued.set()
        return identity

    def requests_of(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]


class Server(ThreadingHTTPServer):
    site: Site

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: some tests stop the device during a request."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def handle_any(self) -> None:
        site = self.server.site
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, dict(self.headers), body)
        site.requests.append(request)
        site.requested.set()
        site.may_answer.wait(TIMEOUT_SECONDS)
        if self.command in site.answers:
            status, headers, text = site.answers[self.command]
        else:
            status, answer = site.answer(request)
            headers, text = {}, b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = handle_any

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.may_answer.set()
    site.stop()


@pytest.fixture
def spool_file(tmp_path: Path) -> Path:
    return tmp_path / "this_computer.spool"


@pytest.fixture
def start(site: Site, spool_file: Path) -> Callable[[], Any]:
    """Starts the device, or restarts it after a crash: its only state is the spool file."""
    return lambda: this_computer.Device(site.url, TOKEN, this_computer.Spool(spool_file))


@pytest.fixture
def device(start: Callable[[], Any]) -> Any:
    return start()
