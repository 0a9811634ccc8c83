"""The site as processes, on a database that is given, and those who speak to it."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import psutil

from tests.e2e.sites import ROOT, free_port

TELEMETRY = "/api/v1/device/telemetry"
CAST = """
import json
from accounts.models import User
from devices import services as device_services
from telemetry.retention import partitions
from django.conf import settings
from django.utils import timezone
from tests.factories import PASSWORD
from tests.factories import user_token
from tests.e2e.seed import session_of

partitions.ensure_ahead(timezone.now())
owner = User.objects.create_user("owner", "owner@example.org", PASSWORD)
made = [device_services.create_device(owner, name=f"device {{n}}") for n in range({devices})]
cookie = f"{{settings.SESSION_COOKIE_NAME}}={{session_of(owner)}}"
print(json.dumps({{"owner": user_token(owner), "password": PASSWORD, "cookie": cookie,
                  "devices": [s.text for _, s in made], "ids": [str(d.pk) for d, _ in made]}}))
"""


class Serving:
    """granian as the Procfile has it, on a database that is ready."""

    def __init__(self, url: str, **settings: str) -> None:
        self.port, self.live_port = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="fire-site-")
        self.environment = os.environ | {
            "DATABASE_URL": url,
            "DATA_DIR": self.folder.name,
            "PORT": str(self.port),
            "LIVE_PORT": str(self.live_port),
            "BIND": "127.0.0.1",
            "GRANIAN_WORKERS": "2",
            "ALLOWED_HOSTS": "testserver",
            "LOG_LEVEL": "WARNING",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **settings,
        }
        self.log = Path(self.folder.name) / "log"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.manage("collectstatic", "--no-input", "--verbosity=0")
            self.start("site")
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.folder.cleanup()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def start(self, name: str) -> None:
        lines = (ROOT / "Procfile").read_text().splitlines()
        command = next(line for line in lines if line.startswith(f"{name}: "))
        with self.log.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                f"exec {command.partition(': ')[2]}",
                shell=True,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def revive(self) -> None:
        """Start again what has ended by itself, after a second as supervisor and systemd do."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                time.sleep(1)
                self.start(name)

    def workers(self) -> list[psutil.Process]:
        """granian's own processes, which answer."""
        return psutil.Process(self.processes["site"].pid).children()

    def all_processes(self) -> list[psutil.Process]:
        """Those of the Procfile with all that they have started."""
        parents = [psutil.Process(process.pid) for process in self.processes.values()]
        return [one for parent in parents for one in (parent, *parent.children(recursive=True))]

    def memory(self, name: str = "site") -> float:
        """MB (PSS) of one of the Procfile with all that it has started."""
        parent = psutil.Process(self.processes[name].pid)
        family = (parent, *parent.children(recursive=True))
        return sum(one.memory_full_info().pss for one in family) / 1e6

    def wait(self, seconds: float = 120) -> float:
        """Seconds until it is ready."""
        started, said = time.monotonic(), b""
        client = Client(self.port)
        while time.monotonic() - started < seconds:
            try:
                answer = client.get("/readyz")
                client.close()
                if answer.status == 200:
                    return time.monotonic() - started
                said = answer.body
            except OSError as error:
                said = str(error).encode()
            time.sleep(0.05)
        raise RuntimeError(f"not ready: {said!r} {self.log.read_text()[-3000:]}")


class Site(Serving):
    """The same with all that it needs and `others` of the Procfile, on an empty database with so
    many devices of one owner: `cast` has their tokens and ids.
    """

    def __init__(
        self, url: str, *, others: Sequence[str] = (), devices: int = 8, **settings: str
    ) -> None:
        super().__init__(url, **settings)
        self.others = others
        self.devices = devices

    def __enter__(self) -> Self:
        self.manage("migrate", "--verbosity=0")
        cast = CAST.format(devices=self.devices)
        self.cast = json.loads(self.manage("shell", "--no-imports", "-c", cast))
        for name in self.others:
            self.start(name)
        return super().__enter__()


@dataclass
class Answer:
    status: int
    seconds: float
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """Over one connection that stays open, until it breaks."""

    port: int
    token: str = ""
    timeout: float = 30
    cookie: str = ""
    context: ssl.SSLContext | None = None
    connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, raw, **headers)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Raises OSError when there is no whole answer."""
        if self.connection is None:
            self.connection = (
                http.client.HTTPConnection("localhost", self.port, timeout=self.timeout)
                if self.context is None
                else http.client.HTTPSConnection(
                    "localhost", self.port, timeout=self.timeout, context=self.context
                )
            )
        given = {"Host": "localhost", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.cookie:
            given["Cookie"] = self.cookie
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        started = time.monotonic()
        try:
            self.connection.request(method, path, body, given)
            got = self.connection.getresponse()
            raw = got.read()
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise OSError(str(error)) from error
        return Answer(got.status, time.monotonic() - started, dict(got.getheaders()), raw)


@dataclass
class Senders:
    """Devices that send numbered readings and send again what got no answer."""

    site: Site
    count: int = 4
    batch: int = 1
    first: int = 0
    pause: float = 0.0
    retry: bool = True
    stopped: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[set[int]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    odd: list[str] = field(default_factory=list)
    last_ok: float = 0.0

    def __enter__(self) -> Self:
        self.begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
        self.acknowledged = [set() for _ in range(self.count)]
        self.sent = [0] * self.count
        self.threads = [
            threading.Thread(target=self._send, args=[n], daemon=True) for n in range(self.count)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def reading(self, number: int) -> dict[str, Any]:
        at = self.begin + timedelta(milliseconds=number)
        return {
            "telemetry_type": "fire",
            "payload": {"n": number},
            "recorded_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    def _device(self, which: int) -> int:
        return (self.first + which) % self.site.devices

    def _send(self, which: int) -> None:
        client = Client(self.site.port, self.site.cast["devices"][self._device(which)])
        offset = which // self.site.devices * 10_000_000
        number = 0
        while not self.stopped.is_set():
            numbers = range(number, number + self.batch)
            body: Any = [self.reading(offset + n) for n in numbers]
            number += self.batch
            self.sent[which] = number
            while not self._deliver(client, body[0] if self.batch == 1 else body):
                if self.stopped.is_set() or not self.retry:
                    break
                time.sleep(0.05)
            else:
                self.acknowledged[which].update(offset + n for n in numbers)
            time.sleep(self.pause)

    def _deliver(self, client: Client, body: Any) -> bool:
        try:
            answer = client.post(TELEMETRY, body)
        except OSError:
            self.statuses[0] += 1
            return False
        self.statuses[answer.status] += 1
        self.slowest = max(self.slowest, answer.seconds)
        if answer.status in (200, 201):
            self.last_ok = time.monotonic()
            return True
        if answer.status not in (429, 503):
            self.odd.append(f"{answer.status}: {answer.body[:200]!r}")
        elif "Retry-After" not in {name.title() for name in answer.headers}:
            self.odd.append(f"{answer.status} without Retry-After")
        return False

    def missing(self, ask: Callable[..., list[tuple[Any, ...]]]) -> list[str]:
        """What was acknowledged and is not there exactly once."""
        faults = []
        for which, numbers in enumerate(self.acknowledged):
            rows = ask(
                "SELECT (payload->>'n')::bigint, count(*) FROM telemetry WHERE device_id = %s"
                " AND telemetry_type = 'fire' GROUP BY 1",
                self.site.cast["ids"][self._device(which)],
            )
            there = dict(rows)
            if lost := numbers - set(there):
                faults.append(f"device {which}: {len(lost)} acknowledged readings are gone")
            if twice := [n for n, count in there.items() if count > 1]:
                faults.append(f"device {which}: {len(twice)} readings are there twice")
        return faults
