"""One hostile client after the other, beside an honest fleet: it keeps half its rate, p99 ≤ 250 ms.

Without a proxy, and through nginx with the shipped configuration where that is installed.
"""

import os
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from resilience.attacks import ATTACKS, Attack, Target, make_mallory
from resilience.flood import Came, Flood
from resilience.proxy import Nginx
from resilience.server import PostgreSQL
from resilience.site import Client, Site

SENDERS = 8
"""Devices of the fleet; each sends its next reading as soon as the last one is answered."""
SECONDS = float(os.environ.get("SECONDS", "8"))
"""Of each attack."""
LEAST = 0.5
"""Of the rate that the fleet has without an attack."""
SLOWEST = 0.25
"""Seconds that 99 of 100 answers to the fleet may take."""
SLOWEST_POLL = 1.0
"""The same of a device that asks `live` for its commands."""
CHOSEN = os.environ.get("ATTACKS", "").split()
GENEROUS = {
    # The attacks are tried as if they came from many addresses.
    "SIGN_IN_LIMIT": "1000000/900",
    "SIGN_IN_ADDRESS_LIMIT": "1000000/3600",
    "PASSWORD_LIMIT": "1000000/900",
    "PASSWORD_CHECK_LIMIT": "1000000/3600",
    "PASSWORD_CHECK_ADDRESS_LIMIT": "1000000/3600",
    "REGISTER_LIMIT": "1000000/3600",
    "ALLOW_UNVERIFIED_LOGIN": "true",
    "REGISTRATION_MODE": "open",
}


class Measured(NamedTuple):
    """What came of the fleet, and of a device that asks for its commands."""

    fleet: Came
    poll: float
    """Seconds (p99)."""
    broken_polls: int


@dataclass
class Way:
    """How the attacker reaches the site: straight, or through nginx."""

    name: str
    port: int
    live_port: int
    context: ssl.SSLContext | None


def run() -> list[str]:
    """Each attack, each way."""
    faults: list[str] = []
    with (
        PostgreSQL(max_connections="100") as server,
        Site(server.url, others=("live",), devices=SENDERS + 1, **GENEROUS) as site,
        ExitStack() as opened,
    ):
        target = Target(site, server, make_mallory(site, server))
        ways = [Way("straight", site.port, site.live_port, None)]
        if shutil.which("nginx"):
            nginx = opened.enter_context(Nginx(site.port, site.live_port))
            ways.append(Way("nginx", nginx.https, nginx.https, nginx.trust()))
        measure(site, seconds=3)
        for way in ways:
            for attack in ATTACKS:
                if CHOSEN and attack.name not in CHOSEN:
                    continue
                quiet = measure(site, seconds=SECONDS / 2)
                with begun(attack, target, way):
                    found = measure(site)
                show(attack.name, way.name, found, quiet)
                faults += [f"{attack.name}, {way.name}: {fault}" for fault in judged(found, quiet)]
                site.wait()
        log = site.log.read_text(errors="replace")
        if "Traceback" in log:
            faults.append(f"an error was logged: …{log[log.index('Traceback') :][:1500]}")
    return faults


@contextmanager
def begun(attack: Attack, target: Target, way: Way) -> Iterator[None]:
    """The attack, for as long as the block lasts."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=_repeat, args=[attack, target, way, number, stop], daemon=True)
        for number in range(attack.threads)
    ]
    for thread in threads:
        thread.start()
    time.sleep(attack.warm_up)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)


def _repeat(attack: Attack, target: Target, way: Way, number: int, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(OSError):
            attack.act(target, way, number, stop)
        if stop.wait(0.005):
            return


def measure(site: Site, *, seconds: float = SECONDS) -> Measured:
    """The fleet for so many seconds."""
    now = datetime.now(UTC)
    flood = Flood(
        site.port,
        site.cast["devices"][:SENDERS],
        senders=SENDERS,
        seconds=seconds,
        first=int((now - timedelta(minutes=50)).timestamp()),
    )
    polls: list[float] = []
    broken: list[int] = []
    stop = threading.Event()

    def poll() -> None:
        client = Client(site.live_port, site.cast["devices"][SENDERS], timeout=10)
        while not stop.wait(0.1):
            try:
                answer = client.get("/api/v1/device/commands")
                polls.append(answer.seconds)
                broken.extend([answer.status] if answer.status not in (200, 204) else [])
            except OSError:
                broken.append(0)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    came = flood.run()
    stop.set()
    thread.join(30)
    return Measured(came, sorted(polls)[len(polls) * 99 // 100] if polls else 99.0, len(broken))


def judged(found: Measured, quiet: Measured) -> list[str]:
    """What is not as it should be."""
    faults = []
    fleet = found.fleet
    if fleet.per_second < LEAST * quiet.fleet.per_second:
        faults.append(f"{fleet.per_second / quiet.fleet.per_second:.0%} of the quiet rate")
    if fleet.p99 > SLOWEST:
        faults.append(f"p99 {fleet.p99 * 1000:.0f} ms")
    errors = fleet.broken + sum(n for status, n in fleet.statuses.items() if status >= 400)
    if errors:
        faults.append(f"{errors} errors: {dict(fleet.statuses)}, {fleet.broken} broken")
    if found.broken_polls or found.poll > SLOWEST_POLL:
        faults.append(f"polls: p99 {found.poll * 1000:.0f} ms, {found.broken_polls} broken")
    return faults


def show(name: str, way: str, found: Measured, quiet: Measured) -> None:
    """Print a line of it."""
    fleet = found.fleet
    print(
        f"  {name}, {way}: {fleet.per_second:.0f} readings/s"
        f" ({fleet.per_second / quiet.fleet.per_second:.0%} of quiet),"
        f" p99 {fleet.p99 * 1000:.0f} ms,"
        f" {dict(fleet.statuses)}, {fleet.broken} broken; polls p99 {found.poll * 1000:.0f} ms,"
        f" {found.broken_polls} broken",
        flush=True,
    )
