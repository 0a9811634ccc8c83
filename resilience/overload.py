"""Twice and ten times as many senders as it takes to keep the site busy."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from resilience.flood import Came, Flood
from resilience.server import PostgreSQL
from resilience.site import Client, Site

SENDERS = int(os.environ.get("SENDERS", "8"))
"""As many as keep it busy."""
SECONDS = float(os.environ.get("SECONDS", "20"))
"""Of each load."""
LEAST = 0.8
"""Of what it can do, under any load."""
LIVEZ = 0.1
"""Maximum seconds for 99 of 100 probes."""
GROWTH = 1.1
"""Of its memory under the load that it can take."""
ANSWERS = {200, 201, 429, 503}


class Load(NamedTuple):
    """How many times SENDERS there are, and whether each reading has a new connection."""

    name: str
    times: int
    renewing: bool = False


LOADS = [
    Load("1 x", 1),
    Load("2 x", 2),
    Load("10 x", 10),
    Load("1 x, new connections", 1, renewing=True),
    Load("10 x, new connections", 10, renewing=True),
    Load("1 x again", 1),
]


class Seen(NamedTuple):
    """What came of a load."""

    load: Load
    came: Came
    livez: float
    memory: float
    faults: list[str]


def run() -> list[str]:
    """Each load in turn, on one site."""
    with PostgreSQL() as server, Site(server.url, devices=10 * SENDERS) as site:
        flooded(site, server, Load("warm", 1), 0, seconds=5)
        seen = [flooded(site, server, load, n) for n, load in enumerate(LOADS, start=1)]
    faults = [fault for one in seen for fault in one.faults]
    for renewing in (False, True):
        alike = [one for one in seen if one.load.renewing is renewing]
        usual = [one.came.per_second for one in alike if one.load.times == 1]
        can = sum(usual) / len(usual)
        faults += [
            f"{one.load.name}: {one.came.per_second / can:.0%} of what it can do"
            for one in alike
            if one.came.per_second < LEAST * can
        ]
    most = max(one.memory for one in seen)
    if most > GROWTH * seen[0].memory:
        faults.append(f"from {seen[0].memory:.0f} to {most:.0f} MB")
    return faults


def flooded(
    site: Site, server: PostgreSQL, load: Load, number: int, *, seconds: float = SECONDS
) -> Seen:
    """One load, while a probe asks how the site is."""
    # An hour of its own each, in which no two readings are of one millisecond.
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=number)
    flood = Flood(
        site.port,
        site.cast["devices"],
        senders=load.times * SENDERS,
        seconds=seconds,
        first=int(hour.timestamp()),
        renewing=load.renewing,
    )
    with Probe(site.port) as probe:
        came = flood.run()
        memory = site.memory()
    faults = [f"{load.name}: {n} answers {s}" for s, n in came.statuses.items() if s not in ANSWERS]
    if came.broken:
        faults.append(f"{load.name}: {came.broken} got no answer")
    if (livez := probe.p99()) > LIVEZ:
        faults.append(f"{load.name}: /livez takes {livez * 1000:.0f} ms")
    stored = server.ask(
        "SELECT (payload->>'n')::int FROM telemetry WHERE telemetry_type = 'flood'"
        " AND recorded_at >= %s AND recorded_at < %s",
        hour,
        hour + timedelta(hours=1),
    )
    if lost := came.acknowledged - {n for (n,) in stored}:
        faults.append(f"{load.name}: {len(lost)} acknowledged readings are gone")
    print(
        f"  {load.name}: {flood.senders} senders, {came.per_second:.0f} readings/s,"
        f" {came.median * 1000:.0f} ms (p99 {came.p99 * 1000:.0f}), {dict(came.statuses)},"
        f" /livez p99 {livez * 1000:.0f} ms, {memory:.0f} MB",
        flush=True,
    )
    return Seen(load, came, livez, memory, faults)


class Probe:
    """Asks /livez ten times a second over a connection of its own."""

    def __init__(self, port: int) -> None:
        self.client = Client(port)
        self.times: list[float] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Probe":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()

    def p99(self) -> float:
        """Seconds."""
        return sorted(self.times)[len(self.times) * 99 // 100]

    def _ask(self) -> None:
        while not self.stopping.wait(0.1):
            started = time.monotonic()
            try:
                answered = self.client.get("/livez").status == 200
            except OSError:
                answered = False
            self.times.append(time.monotonic() - started if answered else float("inf"))
