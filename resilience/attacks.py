"""What one hostile client does: a stranger, or a user with devices and data of their own."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from resilience.server import PostgreSQL
from resilience.site import Client, Site

STREAM_DEVICES = 20_000
READINGS = 300_000
ROWS = 350_000
MALLORY = """
import json, os
from django.utils import timezone
from accounts.users import data_exports
from accounts.models import Archive
from accounts.models import User
from devices import services as device_services
from tests.factories import PASSWORD
from tests.factories import user_token
from tests.e2e.seed import session_of
from django.conf import settings
from datetime import timedelta
from telemetry.retention import partitions

now = timezone.now()
partitions.ensure([partitions.month_of(now - timedelta(days=8))], now=now)
user = User.objects.create_user("mallory", "mallory@example.org", PASSWORD)
made = [device_services.create_device(user, name=f"hostile {n}") for n in range(4)]
archive = Archive.objects.create(user=user, requested_at=now, status="ready", size=8_000_000,
                                 expires_at=now + data_exports.RETENTION)
data_exports.file_path(archive).write_bytes(os.urandom(8_000_000))
cookie = f"{settings.SESSION_COOKIE_NAME}={session_of(user)}"
print(json.dumps({"token": user_token(user), "id": str(user.pk), "cookie": cookie,
                  "tokens": [s.text for _, s in made], "devices": [str(d.pk) for d, _ in made]}))
"""


@dataclass
class Target:
    """The site, its database, and the hostile user's secrets."""

    site: Site
    server: PostgreSQL
    mallory: dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """`act` is repeated by so many threads until the attack ends."""

    name: str
    threads: int
    act: Callable[[Target, Any, int, threading.Event], None]
    warm_up: float = 1.0


def make_mallory(site: Site, server: PostgreSQL) -> dict[str, Any]:
    """Return the hostile user, with readings of two months and many devices that say nothing."""
    mallory: dict[str, Any] = json.loads(site.manage("shell", "--no-imports", "-c", MALLORY))
    with server.connect() as connection:
        connection.execute(
            "INSERT INTO telemetry (id, device_id, telemetry_type, payload, recorded_at,"
            " created_at) SELECT gen_random_uuid(), %s, 'hostile',"
            " jsonb_build_object('a', n, 'b', n * 2, 'text', repeat('x', 40)),"
            " now() - n * interval '2 seconds', now() FROM generate_series(1, %s) AS n",
            [mallory["devices"][0], READINGS],
        )
        connection.execute(
            "INSERT INTO devices (id, user_id, name, device_type, status, metadata, created_at,"
            " updated_at, expected_interval) SELECT gen_random_uuid(), user_id, 'idle ' || n,"
            " device_type, status, metadata, created_at, updated_at, expected_interval"
            " FROM devices, generate_series(1, %s) AS n WHERE id = %s",
            [STREAM_DEVICES, mallory["devices"][1]],
        )
    return mallory


def client(way: Any, *, token: str = "", cookie: str = "", live: bool = False) -> Client:
    port = way.live_port if live else way.port
    return Client(port, token, timeout=30, cookie=cookie, context=way.context)


def opened(way: Any, request: bytes, *, live: bool = False, small_buffer: bool = False) -> Any:
    """A connection over which this has been sent."""
    made: Any = socket.socket()
    if small_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(30)
    made.bind(("127.0.0.2", 0))
    made.connect(("127.0.0.1", way.live_port if live else way.port))
    if isinstance(way.context, ssl.SSLContext):
        made = way.context.wrap_socket(made, server_hostname="localhost")
    made.sendall(request)
    return made


def head(path: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def hold(connections: list[Any], stop: threading.Event, *, drip: bytes = b"") -> None:
    """Keep connections open, and send a byte over each every second."""
    while not stop.wait(1):
        for connection in connections if drip else []:
            with suppress(OSError):
                connection.sendall(drip)
    for connection in connections:
        connection.close()


def sign_in(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """Unknown names and wrong passwords, without end."""
    with closing(client(way)) as stranger:
        for n in range(20):
            name = "mallory" if n % 2 else f"unknown{time.monotonic_ns()}"
            stranger.post("/api/v1/auth/login", {"username": name, "password": "wrong" * 4})
            if stop.is_set():
                return


def register(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    with closing(client(way)) as stranger:
        name = f"n{time.monotonic_ns()}"
        body = {"username": name, "email": f"{name}@example.org", "password": "correct horse " * 2}
        stranger.post("/api/v1/auth/register", body)


def confirm_password(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    with closing(client(way, token=target.mallory["token"])) as user:
        user.ask("DELETE", "/api/v1/users/me", b'{"password": "wrong wrong wrong"}')


def bulk_import(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    with closing(client(way, token=target.mallory["token"])) as user:
        path = f"/api/v1/devices/{target.mallory['devices'][2]}/telemetry/import?dry_run=true"
        user.post(path, _table(), Content_Type="text/csv", Content_Encoding="gzip")


_tables: list[bytes] = []
_making = threading.Lock()


def _table() -> bytes:
    with _making:
        if not _tables:
            rows = "".join(
                f"2025-0{1 + n % 9}-{1 + n % 28:02}T{n % 24:02}:{n % 60:02}:00Z,{n % 97},{n % 89}\n"
                for n in range(ROWS)
            )
            _tables.append(gzip.compress(f"time,temperature,humidity\n{rows}".encode(), 6))
        return _tables[0]


def slow_archive(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    request = head(
        "/api/v1/users/me/archive/file", f"Authorization: Bearer {target.mallory['token']}"
    )
    hold([opened(way, request, small_buffer=True) for _ in range(4)], stop)


def slow_export(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    path = f"/api/v1/devices/{target.mallory['devices'][0]}/telemetry/export?format=ndjson"
    request = head(path, f"Authorization: Bearer {target.mallory['token']}")
    hold([opened(way, request, small_buffer=True) for _ in range(4)], stop)


def slow_login(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 1000")
    request = head("/api/v1/auth/login", *lines, method="POST") + b"{"
    hold([opened(way, request) for _ in range(50)], stop, drip=b" ")


def slow_reading(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    lines = (
        f"Authorization: Bearer {target.mallory['tokens'][0]}",
        "Content-Type: application/json",
        "Content-Length: 1000",
    )
    request = head("/api/v1/device/telemetry", *lines, method="POST") + b"{"
    hold([opened(way, request) for _ in range(50)], stop, drip=b" ")


def slow_chunks(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    lines = (
        f"Authorization: Bearer {target.mallory['tokens'][0]}",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    )
    request = head("/api/v1/device/telemetry", *lines, method="POST") + b"1\r\n{\r\n"
    hold([opened(way, request) for _ in range(50)], stop, drip=b"1\r\n \r\n")


def idle(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """Connections over which nothing, or the half of a head, is sent."""
    hold([opened(way, b"GET / HTTP/1.1\r\nHost:" if n % 2 else b"") for n in range(250)], stop)


def large_batches(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    token = target.mallory["tokens"][number % len(target.mallory["tokens"])]
    with closing(client(way, token=token)) as device:
        begin = time.time_ns() // 1000 % 10**9
        readings = [
            {"telemetry_type": "bulk", "payload": {"n": begin + n, "at": number}}
            for n in range(10_000)
        ]
        device.post("/api/v1/device/telemetry", readings)


def old_readings(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """One reading of each month since 2000."""
    with closing(client(way, token=target.mallory["tokens"][3])) as device:
        minute = time.time_ns() // 1000 % 60
        readings = [
            {
                "telemetry_type": "old",
                "payload": {"n": minute},
                "recorded_at": f"{year}-{month:02}-0{1 + number}T00:{minute:02}:00Z",
            }
            for year in range(2000, 2026)
            for month in range(1, 13)
        ]
        device.post("/api/v1/device/telemetry", readings)


def history(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """Charts over all that there is, and lists filtered by a thousand names."""
    with closing(client(way, token=target.mallory["token"])) as user:
        device = target.mallory["devices"][0]
        keys = "&".join(f"key=hostile.{name}" for name in ("a", "b"))
        user.get(f"/api/v1/devices/{device}/telemetry/series?{keys}&points=2000")
        user.get("/api/v1/devices?" + "&".join(f"metadata.k{n}=1" for n in range(600)))
        user.get("/api/v1/devices?limit=1000")


def pages(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """The pages that cost most, as fast as they come."""
    with closing(client(way, cookie=target.mallory["cookie"])) as user:
        for path in ("/", f"/devices/{target.mallory['devices'][0]}/history", "/account/sessions"):
            user.get(path)


def probes(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    with closing(client(way)) as stranger:
        for path in ("/readyz", "/metrics", "/sign-in", "/no-such-page"):
            stranger.get(path)


def streams(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """Event streams of a user with many devices."""
    lines = f"Authorization: Bearer {target.mallory['token']}"
    hold([opened(way, head("/api/v1/events", lines), live=True) for _ in range(10)], stop)


def polls(target: Target, way: Any, number: int, stop: threading.Event) -> None:
    """Long polls of one device."""
    request = head(
        "/api/v1/device/commands?wait=50", f"Authorization: Bearer {target.mallory['tokens'][0]}"
    )
    hold([opened(way, request, live=True) for _ in range(250)], stop)


ATTACKS = [
    Attack("sign-ins", 20, sign_in),
    Attack("registrations", 10, register),
    Attack("password-confirmations", 10, confirm_password),
    Attack("imports", 4, bulk_import, warm_up=3),
    Attack("slow-archives", 4, slow_archive),
    Attack("slow-exports", 4, slow_export, warm_up=3),
    Attack("slow-logins", 4, slow_login),
    Attack("slow-readings", 4, slow_reading),
    Attack("slow-chunks", 4, slow_chunks),
    Attack("idle-connections", 8, idle),
    Attack("large-batches", 8, large_batches),
    Attack("old-readings", 2, old_readings, warm_up=5),
    Attack("history", 8, history),
    Attack("pages", 8, pages),
    Attack("probes", 8, probes),
    Attack("streams", 5, streams, warm_up=3),
    Attack("long-polls", 12, polls, warm_up=8),
]
