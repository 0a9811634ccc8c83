"""Readings sent one by one."""

from collections.abc import Iterator

from benchmarks import bodies, database, fleet, wrk
from benchmarks.bench import Bench, median
from benchmarks.client import Refused
from benchmarks.database import Connection
from benchmarks.progress import say
from benchmarks.reading_rows import Goal, Row, ratio_of
from benchmarks.servers import NotHere, Server, all_running

WORK = "single POST"
UNIT = "requests/s"
IN_FLIGHT = 2 * wrk.CONNECTIONS
"""Requests that may have been stored after the time was up, though no client waited for the
response: two for each connection, the open one and the one after a response that came too late to
be counted.
"""


def measure(bench: Bench) -> Iterator[Row]:
    """Single POSTs, each answered after its commit, over 16 kept connections from 100 devices."""
    if not wrk.here():
        yield Row(WORK, UNIT, note=wrk.MISSING)
        return
    ours, peers = fleet.ours(), []
    for peer_of, goal in (
        (fleet.fastapi, ratio_of(1.2)),
        (fleet.go_chi, ratio_of(0.5)),
        (fleet.naive_drf, None),
    ):
        try:
            peers.append((peer_of(), goal))
        except NotHere as reason:
            yield Row(WORK, UNIT, peer=peer_of.__name__, goal=goal, note=str(reason))
    figures = _rounds(bench, [ours, *(peer for peer, _ in peers)])
    for peer, goal in peers:
        yield _row(figures[ours.name], peer, figures[peer.name], goal)


def _row(ours: list[wrk.Load], peer: Server, theirs: list[wrk.Load], goal: Goal | None) -> Row:
    return Row(
        WORK,
        UNIT,
        median([load.per_second for load in ours]),
        peer.name,
        median([load.per_second for load in theirs]),
        goal,
        f"p50, p99 in ms: {latency(ours)}; the peer's: {latency(theirs)}",
    )


def latency(loads: list[wrk.Load]) -> str:
    middle, slow = median([load.p50_ms for load in loads]), median([load.p99_ms for load in loads])
    return f"{middle:.1f}, {slow:.1f}"


def _rounds(bench: Bench, servers: list[Server]) -> dict[str, list[wrk.Load]]:
    found: dict[str, list[wrk.Load]] = {server.name: [] for server in servers}
    tokens, devices = bench.empty_cast.tokens, bench.empty_cast.devices
    with database.connect(database.EMPTY) as connection, all_running(servers):
        for number in range(bench.rounds + 1):
            for server in servers:
                database.forget_readings(connection)
                # The first round only warms up.
                seconds = bench.seconds if number else 1
                load = wrk.singles(server, tokens, start=bodies.now(), seconds=seconds)
                check(connection, load, database.count(connection, devices), server)
                if number:
                    found[server.name].append(load)
                    say(f"{WORK}, {server.name}: {load.per_second:,.0f} {UNIT}")
    return found


def check(connection: Connection, load: wrk.Load, stored: int, server: Server) -> None:
    """Raises Refused unless every answer was 2xx and every reading is in the table."""
    if load.refused or load.broken:
        raise Refused(f"{server.name}: {load}")
    if not load.requests <= stored <= load.requests + IN_FLIGHT:
        raise Refused(f"{server.name}: {load.requests} answers, {stored} readings in the table")
