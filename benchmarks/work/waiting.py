"""5,000 devices that wait for a command: what they weigh, how soon it comes, what ingest pays."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil

from benchmarks import bodies, cast, client, database, fleet, wrk
from benchmarks.bench import Bench, median, percentile
from benchmarks.cast import Cast
from benchmarks.client import Refused
from benchmarks.database import Connection
from benchmarks.pollers import Pollers, waiting
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most, ratio_of
from benchmarks.servers import Server, running
from benchmarks.work import singles

WAITING = 5_000
CLICKS = 500
LIVE = "telemetry_site.live"
WORK = f"{WAITING:,} devices wait"


def measure(bench: Bench) -> Iterator[Row]:
    """Measure in turn without and with waiting devices, while single POSTs come in over 16
    connections from 100 other devices; then commands are sent to the waiting, one after the other.
    """
    ours, senders = fleet.ours(), bench.empty_cast
    waiters = cast.assemble(database.EMPTY, WAITING, name="waiter")
    with running(ours) as process, database.connect(database.EMPTY) as connection:
        url = live_url(ours, waiters)
        rates: dict[bool, list[float]] = {False: [], True: []}
        for number in range(bench.rounds + 1):
            for all_wait in rates:
                with ExitStack() as stack:
                    if all_wait:
                        stack.enter_context(waiting(url, waiters.tokens))
                    rate = ingest(bench, connection, ours, senders)
                if number:
                    rates[all_wait].append(rate)
                    say(f"{WORK if all_wait else 'no device waits'}: {rate:,.0f} POSTs a second")
        with waiting(url, waiters.tokens) as pollers:
            weight = live_process(process).memory_full_info().pss
            taken = click(pollers, ours, waiters)
        connection.execute("DELETE FROM commands WHERE device_id = ANY (%s)", [waiters.devices])
    slow, note = percentile(taken, 99), f"p50 {median(taken):.1f} ms, of {len(taken)}"
    say(f"{WORK}: {weight / 1e6:.0f} MB, a command comes after p99 {slow:.1f} ms, {note}")
    yield Row(f"{WORK}: the live process", "MB", weight / 1e6, goal=at_most(400), note="PSS")
    yield Row(
        f"{WORK}: from POST of a command to its device",
        "ms, p99",
        slow,
        goal=at_most(50),
        note=note,
    )
    yield Row(
        f"{WORK}: single POST",
        "requests/s",
        median(rates[True]),
        "no device waits",
        median(rates[False]),
        ratio_of(0.95),
    )


def ingest(bench: Bench, connection: Connection, ours: Server, senders: Cast) -> float:
    """Single POSTs a second, of the devices that do not wait. Raises Refused."""
    database.forget_readings(connection)
    load = wrk.singles(ours, senders.tokens, start=bodies.now(), seconds=bench.seconds)
    singles.check(connection, load, database.count(connection, senders.devices), ours)
    return load.per_second


def click(pollers: Pollers, ours: Server, waiters: Cast) -> list[float]:
    """The milliseconds from the POST of each command to its arrival at the device."""
    body, taken = json.dumps({"command_name": "blink"}).encode(), []
    with client.Line(ours.port, waiters.user_token) as line:
        for device in waiters.devices[:: WAITING // CLICKS]:
            started = time.perf_counter()
            command = line.post_json(f"/api/v1/devices/{device}/commands", body)
            taken.append((pollers.arrival(command["id"]) - started) * 1000)
    return taken


def live_url(ours: Server, waiters: Cast) -> str:
    """Where the site tells its devices to wait. Raises Refused."""
    with client.Line(ours.port, waiters.tokens[0]) as line:
        told: str | None = json.loads(line.get("/api/v1/device")[1])["live_url"]
    if told is None:
        raise Refused("the site tells of no live process")
    return told


def live_process(site: psutil.Process) -> psutil.Process:
    """The one among those that the site has started. Raises Refused."""
    for one in site.children(recursive=True):
        if LIVE in one.cmdline():
            return one
    raise Refused("there is no live process")
