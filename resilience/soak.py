"""An hour of all that happens on a usual day: nothing grows that should not."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count, cycle
from typing import NamedTuple, Self

import psutil

from resilience.commands import Commands
from resilience.server import PostgreSQL
from resilience.site import TELEMETRY, Client, Senders, Site

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
STEP = 5.0
"""Seconds between two looks."""
NAMES = ("site", "worker", "live")
USUAL = {200, 201, 204}
OTHER_TABLES = """
    SELECT sum(pg_total_relation_size(oid)) / 1e6 FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname !~ '^(telemetry_[0-9]|telemetry_hours|commands|procrastinate|audit)'
"""
"""MB of what has as many rows as there are devices, people and keys, whatever is sent."""
DEAD = "SELECT coalesce(sum(n_dead_tup), 0), coalesce(sum(n_live_tup), 0) FROM pg_stat_user_tables"


class Quantity(NamedTuple):
    """What should stay as it is, and how much more of it there may be at the end."""

    name: str
    growth: float
    look: Callable[[], float]


def run() -> list[str]:
    """SOAK_SECONDS of it."""
    with (
        PostgreSQL() as server,
        Site(server.url, others=NAMES[1:], devices=10) as site,
    ):
        quantities = [
            *(Quantity(f"MB of {name}", 8, partial(site.memory, name)) for name in NAMES),
            Quantity("MB of PostgreSQL's own", 8, lambda: of_postgresql(server)),
            Quantity("descriptors", 4, lambda: descriptors(site)),
            Quantity("connections", 2, lambda: connections(server)),
            Quantity("MB of other tables", 2, lambda: float(server.ask(OTHER_TABLES)[0][0])),
            Quantity("dead rows for 100", 10, lambda: dead(server)),
        ]
        with (
            Senders(site, count=4, pause=0.1) as singles,
            Senders(site, count=2, batch=100, first=4, pause=1) as batches,
            Repeated(site) as others,
            Commands(site, pause=1, patience=1) as commands,
        ):
            seen = looked_at(quantities)
            commands.finish()
        faults = singles.odd + batches.odd + sorted(others.odd)
        faults += singles.missing(server.ask) + batches.missing(server.ask)
        faults += commands.faults(server)
        stored = server.ask("SELECT count(*) FROM telemetry")[0][0]
        print(
            f"  {stored} readings, {len(commands.issued)} commands, {others.asked} other requests,"
            f" slowest {others.slowest:.2f} s",
            flush=True,
        )
    return faults + [fault for one in quantities for fault in grown(one, seen[one.name])]


def looked_at(quantities: list[Quantity]) -> dict[str, list[float]]:
    """Each of the quantities every STEP, from the first tenth on."""
    started = time.monotonic()
    seen: dict[str, list[float]] = {one.name: [] for one in quantities}
    told = 0
    while (gone := time.monotonic() - started) < SECONDS:
        now = {one.name: one.look() for one in quantities}
        if gone * 10 > told * SECONDS:
            told += 1
            words = ", ".join(f"{value:.0f} {name}" for name, value in now.items())
            print(f"  {gone:4.0f} s: {words}", flush=True)
        if gone >= SECONDS / 10:
            for name, value in now.items():
                seen[name].append(value)
        time.sleep(STEP)
    return seen


def grown(quantity: Quantity, values: list[float]) -> list[str]:
    """Whether the straight line through all values rises by more than it may."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    spread = sum((n - middle) ** 2 for n in range(len(values)))
    slope = sum((n - middle) * (value - mean) for n, value in enumerate(values)) / spread
    rise = slope * len(values)
    print(f"  {quantity.name}: {mean:.1f}, and {rise:+.1f} from begin to end", flush=True)
    return [f"{rise:.1f} more {quantity.name}"] if rise > quantity.growth else []


def of_postgresql(server: PostgreSQL) -> float:
    """MB of its processes that they do not share."""
    processes = psutil.Process(server.process.pid).children(recursive=True)
    return sum(memory_of(one) for one in processes) / 1e6


def memory_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.NoSuchProcess:
        return 0


def descriptors(site: Site) -> float:
    return sum(one.num_fds() for one in site.all_processes())


def connections(server: PostgreSQL) -> float:
    (found,) = server.ask(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return float(found[0])


def dead(server: PostgreSQL) -> float:
    """For each hundred rows that live."""
    ((gone, alive),) = server.ask(DEAD)
    return float(gone / max(1, alive) * 100)


class Repeated:
    """A device that sends everything again, one that waits, and people who look at all that."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.odd: set[str] = set()
        self.asked = 0
        self.slowest = 0.0
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._send_again, self._wait, self._look)
        ]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def _send_again(self) -> None:
        client = Client(self.site.port, self.site.cast["devices"][6])
        for number in count():
            at = f"{time.strftime('%Y-%m-%dT%H:%M', time.gmtime())}:00Z"
            reading = {"telemetry_type": "again", "payload": {"n": 1}, "recorded_at": at}
            self._ask(client, "POST", TELEMETRY, reading if number % 2 else [reading] * 50)
            if self.stopping.wait(0.5):
                return

    def _wait(self) -> None:
        client = Client(self.site.live_port, self.site.cast["devices"][8])
        while not self.stopping.is_set():
            self._ask(client, "GET", "/api/v1/device/commands?wait=2", waiting=2)

    def _look(self) -> None:
        owner = Client(self.site.port, self.site.cast["owner"])
        person = Client(self.site.port, cookie=self.site.cast["cookie"])
        device = f"/devices/{self.site.cast['ids'][0]}"
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        hours = f"from={today}T00:00:00Z&to={today}T23:59:59Z"
        paths = (
            (owner, "/api/v1/devices"),
            (owner, f"/api/v1{device}/telemetry?limit=100"),
            (owner, f"/api/v1{device}/telemetry/latest"),
            (owner, f"/api/v1{device}/telemetry/series?key=fire.n&{hours}"),
            (owner, f"/api/v1{device}/commands"),
            (person, "/"),
            (person, "/devices/rows"),
            (person, device),
            (person, f"{device}/history"),
            (person, f"{device}/commands"),
            (Client(self.site.port), "/metrics"),
            (Client(self.site.port), "/readyz"),
        )
        for client, path in cycle(paths):
            self._ask(client, "GET", path)
            if self.stopping.wait(0.25):
                return

    def _ask(
        self, client: Client, method: str, path: str, body: object = None, *, waiting: float = 0
    ) -> None:
        try:
            answer = client.get(path) if method == "GET" else client.post(path, body)
        except OSError as error:
            self.odd.add(f"{method} {path}: {error}")
            return
        self.asked += 1
        self.slowest = max(self.slowest, answer.seconds - waiting)
        if answer.status not in USUAL:
            self.odd.add(f"{method} {path}: {answer.status} {answer.body[:100]!r}")
