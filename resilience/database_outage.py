"""The database is away, locked, full, slow or taken: 503 at once, and back by itself. On a disk
that is nearly full, only what needs room is refused.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from resilience.server import PostgreSQL
from resilience.site import TELEMETRY, Answer, Client, Serving, Site

AWAY = float(os.environ.get("AWAY", "10"))
"""Seconds without a database; every other trouble lasts OTHERS."""
OTHERS = 10.0
SOON = 1.0
BACK = 3.0
CHECKED_WITHIN = 15.0
"""Seconds after which each process has looked at the disk again."""
TABLE = b"time,t\n2025-06-15T12:00:00Z,1\n"
RESERVE = 50 * 1024 * 1024
PATHS = ("/api/v1/devices", "/api/v1/device/commands", TELEMETRY)


def run() -> list[str]:
    """Each trouble in turn, on one site."""
    faults: list[str] = []
    with (
        small_disk() as disk,
        PostgreSQL(folder=disk, max_connections="30", max_wal_size="64MB") as server,
        Site(server.url, STATEMENT_TIMEOUT_MS="700") as site,
    ):
        troubles: list[tuple[str, Callable[[], Any]]] = [
            ("stopped", lambda: stopped(server)),
            ("restarted", lambda: restarted(server)),
            ("telemetry locked", lambda: locked(server, "telemetry")),
            ("devices locked", lambda: locked(server, "devices")),
            ("every table slow", lambda: slow(server)),
            ("no connection left", lambda: used_up(server)),
        ]
        if disk is not None:
            troubles.append(("disk full", lambda: full(server)))
        for name, trouble in troubles:
            faults += [f"{name}: {fault}" for fault in one(server, site, name, trouble)]
        if disk is not None:
            faults += [f"disk nearly full: {fault}" for fault in nearly_full(disk, server, site)]
        if "Traceback" in (log := site.log.read_text()):
            faults.append(f"a traceback in the log: {log[log.index('Traceback') :][:3000]}")
    return faults


def one(server: PostgreSQL, site: Site, name: str, trouble: Callable[[], Any]) -> list[str]:
    """Ask while there is trouble and after it."""
    faults, answers = [], []
    clients = [
        Client(site.port, site.cast["devices"][0]),
        Client(site.port, site.cast["owner"]),
        Client(site.port, cookie=site.cast["cookie"]),
    ]
    before = rows(server)
    sent = 0
    for number in range(5):
        sent += ask(clients, number)[-1].status == 201
    with trouble():
        until = time.monotonic() + (AWAY if name == "stopped" else OTHERS)
        number = 100
        while time.monotonic() < until:
            number += 1
            answers += ask(clients, number)
            time.sleep(0.1)
    ended = time.monotonic()
    while not good(ask(clients, (number := number + 1))):
        if time.monotonic() - ended > 30:
            return [*faults, "it does not come back by itself"]
    back = time.monotonic() - ended
    sent += 1
    slowest = max(answer.seconds for answer in answers)
    statuses = sorted({answer.status for answer in answers})
    print(f"  {name}: {statuses}, slowest {slowest:.2f} s, back after {back:.2f} s", flush=True)
    faults += odd(answers)
    if slowest > SOON + 0.3:
        faults.append(f"an answer took {slowest:.2f} s")
    if back > BACK:
        faults.append(f"back after {back:.1f} s")
    stored = sum(a.status == 201 and b"recorded_at" in a.body for a in answers)
    there = rows(server) - before
    # What got no good answer may be there all the same: its device will send it again.
    if there < stored + sent:
        faults.append(f"{stored + sent} were answered 201, {there} are there")
    return faults


def ask(clients: list[Client], number: int) -> list[Answer]:
    """A page, a list, a command poll and a reading; no answer at all is an answer 0."""
    device, owner, person = clients
    answers = []
    reading = {"telemetry_type": "away", "payload": {"n": number, "at": time.time()}}
    for client, method, path, body in (
        (person, "GET", "/", None),
        (owner, "GET", PATHS[0], None),
        (device, "GET", PATHS[1], None),
        (device, "POST", PATHS[2], reading),
    ):
        try:
            answers.append(client.get(path) if method == "GET" else client.post(path, body))
        except OSError:
            answers.append(Answer(0, 0.0, {}, b""))
    return answers


def good(answers: list[Answer]) -> bool:
    return all(0 < answer.status < 300 for answer in answers)


def odd(answers: list[Answer]) -> list[str]:
    """Answers that are neither good nor 503 with Retry-After."""
    wrong = {
        f"{answer.status} {answer.body[:100]!r}"
        for answer in answers
        if (
            answer.status >= 300
            and not (
                answer.status == 503
                and "retry-after" in {name.lower() for name in answer.headers}
                and (b'"status": 503' in answer.body or b"Temporarily unavailable" in answer.body)
            )
        )
        or answer.status == 0
    }
    return sorted(wrong)


def rows(server: PostgreSQL) -> int:
    return int(server.ask("SELECT count(*) FROM telemetry WHERE telemetry_type = 'away'")[0][0])


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """400 MB, or None where that may not be mounted."""
    with tempfile.TemporaryDirectory(prefix="fire-disk-") as place:
        mount = ["mount", "-t", "tmpfs", "-o", "size=400m,mode=0755", "tmpfs", place]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            print("  (no small disk can be mounted here: that one is left out)")
            yield None
            return
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=False)


@contextmanager
def stopped(server: PostgreSQL) -> Iterator[None]:
    server.stop(signal.SIGINT)
    yield
    server.start()


@contextmanager
def restarted(server: PostgreSQL) -> Iterator[None]:
    server.kill()
    server.start()
    yield


@contextmanager
def locked(server: PostgreSQL, table: str) -> Iterator[None]:
    with server.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def slow(server: PostgreSQL) -> Iterator[None]:
    """Every insert takes five seconds, as on a disk that is dying."""
    with server.connect() as connection:
        connection.execute(
            "CREATE FUNCTION dying() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(5); RETURN NEW; END'"
        )
        connection.execute(
            "CREATE TRIGGER dying BEFORE INSERT ON telemetry FOR EACH ROW EXECUTE FUNCTION dying()"
        )
        yield
        connection.execute("DROP FUNCTION dying CASCADE")


@contextmanager
def used_up(server: PostgreSQL) -> Iterator[None]:
    """Another client takes all connections, and those of the site are terminated."""
    with ExitStack() as open_ones:
        admin = open_ones.enter_context(server.connect())
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        try:
            while True:
                open_ones.enter_context(server.connect())
        except psycopg.OperationalError:
            pass
        yield


@contextmanager
def full(server: PostgreSQL) -> Iterator[None]:
    """Not a byte is left on the disk of the database."""
    ballast = server.folder / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(1024 * 1024))
                file.flush()
        except OSError:
            pass
    # PostgreSQL still has room in files that are there, of its log above all; soon it has not.
    with suppress(psycopg.Error), server.connect() as connection:
        for _ in range(400):
            connection.execute("SELECT pg_logical_emit_message(true, '', repeat('x', 1000000))")
    try:
        yield
    finally:
        ballast.unlink()
        if not server.is_running():
            server.start()


def nearly_full(disk: Path, server: PostgreSQL, site: Site) -> list[str]:
    """Leave less than DISK_RESERVE of a small disk free, then make room again."""
    folder = disk / "data"
    folder.mkdir()
    ballast = disk / "ballast"
    with Serving(server.url, DATA_DIR=str(folder), DISK_RESERVE=str(RESERVE)) as other:
        device, owner = site.cast["devices"][1], site.cast["owner"]
        spare = shutil.disk_usage(disk).free - RESERVE // 2
        with ballast.open("wb") as file:
            for _ in range(spare // (1024 * 1024)):
                file.write(bytes(1024 * 1024))
        try:
            faults = answered(other, device, 507)
            faults += while_nearly_full(other, device, owner, site.cast)
        finally:
            ballast.unlink()
        return faults + answered(other, device, 201)


def answered(site: Serving, device: str, status: int) -> list[str]:
    """Send readings until every process answers them so."""
    found: list[int] = []
    until = time.monotonic() + CHECKED_WITHIN
    number = 0
    while time.monotonic() < until:
        number += 1
        found = []
        for part in range(8):
            # Over a connection of its own, for whichever process takes it.
            client = Client(site.port, device)
            payload = {"at": time.time(), "n": number, "part": part}
            reading = {"telemetry_type": "room", "payload": payload}
            found.append(client.post(TELEMETRY, reading).status)
            client.close()
        if set(found) == {status}:
            return []
        time.sleep(0.2)
    return [f"readings are {sorted(set(found))} and not {status}"]


def while_nearly_full(site: Serving, device: str, owner: str, cast: dict[str, Any]) -> list[str]:
    """What is refused and what goes on; the second device is deleted."""
    of_device, of_owner = Client(site.port, device), Client(site.port, owner)
    path = f"/api/v1/devices/{cast['ids'][2]}"
    person = {"username": "owner", "password": cast["password"]}
    csv = {"Content-Type": "text/csv"}
    wanted = {
        "readings": (
            507,
            of_device.post(TELEMETRY, [{"telemetry_type": "a", "payload": {"b": 1}}]),
        ),
        "an import": (507, of_owner.post(f"{path}/telemetry/import", TABLE, **csv)),
        "an archive": (507, of_owner.post("/api/v1/users/me/archive", b"")),
        "signing in": (200, of_owner.post("/api/v1/auth/login", person)),
        "a list": (200, of_owner.get("/api/v1/devices")),
        "history": (200, of_owner.get(f"{path}/telemetry")),
        "a command": (201, of_owner.post(f"{path}/commands", {"command_name": "x", "payload": {}})),
        "fetching commands": (204, of_device.get("/api/v1/device/commands")),
        "deleting": (204, of_owner.ask("DELETE", path)),
        "livez": (200, of_owner.get("/livez")),
        "readyz": (503, of_owner.get("/readyz")),
    }
    told = {name: answer.status for name, (_, answer) in wanted.items()}
    print(f"  disk nearly full: {told}", flush=True)
    return [
        f"{name}: {answer.status} {answer.body[:200]!r}"
        for name, (status, answer) in wanted.items()
        if answer.status != status
        or (status == 507 and "retry-after" not in {name.lower() for name in answer.headers})
    ]
