"""200 slow bodies and 200 slow headers, behind nginx and without it."""

import shutil
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress

from resilience.proxy import Nginx
from resilience.server import PostgreSQL
from resilience.site import Client, Site

COUNT = 200
SECONDS = 10.0
SLOWEST = 1.0
"""Maximum seconds that other clients wait meanwhile."""
HEAD = (
    b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: 1000\r\n\r\n"
)


def run() -> list[str]:
    """Slow ones, and one device that sends as ever."""
    faults: list[str] = []
    with PostgreSQL() as server, Site(server.url) as site, ExitStack() as opened:
        ways = {"granian": (site.port, None)}
        if shutil.which("nginx"):
            nginx = opened.enter_context(Nginx(site.port))
            ways = {"nginx": (nginx.https, nginx.trust()), **ways}
        token = site.cast["devices"][1].encode()
        firsts = {
            "heads": HEAD[:40],
            "bodies of strangers": HEAD % (b"/api/v1/auth/login", b"") + b"{",
            "bodies of a device": HEAD % (b"/api/v1/device/telemetry", token) + b"{",
        }
        for way, (port, context) in ways.items():
            for kind, first in firsts.items():
                slow = begin("localhost", port, COUNT, first, context=context)
                stop = threading.Event()
                drip = threading.Thread(target=go_on, args=[slow, stop], daemon=True)
                drip.start()
                slowest, sent = others(site, port, context)
                stop.set()
                drip.join()
                for connection in slow:
                    connection.close()
                print(f"  {way}, {kind}: {sent} readings, slowest {slowest:.2f} s", flush=True)
                if slowest > SLOWEST or not sent:
                    faults.append(f"{way}, slow {kind}: {sent} readings, {slowest:.1f} s")
                site.wait()
    return faults


def begin(
    host: str, port: int, count: int, first: bytes, *, context: ssl.SSLContext | None = None
) -> list[socket.socket]:
    """Connections over which the beginning of a request was sent, and no more."""
    made = []
    for _ in range(count):
        # From another address than the others: nginx limits how many connections each may have.
        connection = socket.create_connection(
            ("127.0.0.1", port), timeout=30, source_address=("127.0.0.2", 0)
        )
        if context is not None:
            connection = context.wrap_socket(connection, server_hostname=host)
        connection.sendall(first)
        made.append(connection)
    return made


def go_on(slow: list[socket.socket], stop: threading.Event) -> None:
    """A byte each, every second."""
    while not stop.wait(1):
        for connection in slow:
            with suppress(OSError):
                connection.sendall(b"x")


def others(site: Site, port: int, context: ssl.SSLContext | None) -> tuple[float, int]:
    """The slowest answer in SECONDS, and how many were 201."""
    client = Client(port, site.cast["devices"][0], timeout=SECONDS, context=context)
    slowest, sent = 0.0, 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        started = time.monotonic()
        reading = {"telemetry_type": "slow", "payload": {"n": sent, "at": started}}
        with suppress(OSError):
            sent += client.post("/api/v1/device/telemetry", reading).status == 201
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.02)
    return slowest, sent
