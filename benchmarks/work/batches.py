"""Readings sent many at a time."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import bodies, client, database, fleet, wrk
from benchmarks.bench import Bench, median
from benchmarks.client import Refused
from benchmarks.database import Connection
from benchmarks.paths import FOLDER
from benchmarks.peers import raw_copy
from benchmarks.progress import say
from benchmarks.reading_rows import Goal, Row, ratio_of
from benchmarks.servers import NotHere, Server, all_running, running

UNIT = "readings/s"
CONNECTIONS = 4
NAIVE_TAKES = 3
"""As many times longer the naive peer is loaded, or it would hardly answer twice."""
FASTEST, INFLUX_FASTEST = 500_000, 2_000_000
"""Readings per second, above what any peer reaches here."""


class Attempt(NamedTuple):
    """One round: how many readings it brings, and what sends them and returns the seconds."""

    readings: int
    send: Callable[[], float]


def against_copy(bench: Bench) -> Iterator[Row]:
    """Batches over HTTP on one connection, checked, with ids, idempotent; the same rows, made
    beforehand, by binary COPY on one connection, building its buffer included.
    """
    goals = {1_000: ratio_of(0.7), 5_000: ratio_of(0.9)}
    ours, devices = fleet.ours(), bench.empty_cast.devices
    with (
        database.connect(database.EMPTY) as connection,
        database.connect(database.EMPTY) as copying,
        running(ours),
    ):
        for size in (*bench.small_batches, 1_000, 5_000):
            start, number = bodies.now(), bench.readings // size
            rows = bodies.rows(size, number, devices=devices, start=start)
            attempts = {
                "ours": poster(bench, ours, size, start),
                "raw COPY": Attempt(number * size, partial(raw_copy.copy, copying, rows)),
            }
            work = f"batch of {size:,}, one connection"
            figures = rounds(bench, connection, work, attempts)
            yield row(size, "one connection", figures, "ours", "raw COPY", goals.get(size))


def against_servers(bench: Bench) -> Iterator[Row]:
    """The same batches over HTTP on four connections, to every server, as many as there is time
    for.
    """
    if not wrk.here():
        yield Row("batches", UNIT, note=wrk.MISSING)
        return
    goals = {1_000: ratio_of(1.1), 10_000: ratio_of(1.3)}
    peers: list[Server] = []
    # In a quick run only those that a goal is about, or that come close to it.
    slow_ones = (fleet.naive_drf, fleet.influxdb) if bench.full else ()
    for peer_of in (fleet.go_chi, fleet.fastapi, *slow_ones):
        try:
            peers.append(peer_of())
        except NotHere as reason:
            goal = goals[1_000] if peer_of is fleet.go_chi else None
            yield Row("batches", UNIT, peer=peer_of.__name__, goal=goal, note=str(reason))
    ours = fleet.ours()
    with database.connect(database.EMPTY) as connection, all_running([ours, *peers]):
        for size in (*bench.small_batches, 1_000, 10_000):
            compared = [one for one in (ours, *peers) if one.name != fleet.NAIVE or size == 1_000]
            figures = loads(bench, connection, compared, size)
            for peer in compared[1:]:
                goal = goals.get(size) if peer.name == fleet.GO else None
                how = f"{CONNECTIONS} connections"
                yield row(size, how, figures, ours.name, peer.name, goal)


def sent_again(bench: Bench) -> Iterator[Row]:
    """A batch of 1,000 that is stored already, against its first delivery; one connection."""
    size, ours = 1_000, fleet.ours()
    first, second = [], []
    with database.connect(database.EMPTY) as connection, running(ours):
        for number in range(bench.rounds + 1):
            database.forget_readings(connection)
            sent = bodies.batches(
                size,
                bench.readings // size,
                devices=len(bench.empty_cast.devices),
                start=bodies.now(),
            )
            requests = client.posts(ours.batch_path, sent, bench.empty_cast.tokens)
            seconds, _ = client.send(ours.port, requests)
            again, answers = client.send(ours.port, requests)
            if any(json.loads(answer)["accepted"] for answer in answers):
                raise Refused("a reading that was stored already was stored again")
            stored = database.count(connection, bench.empty_cast.devices)
            if stored != len(sent) * size:
                raise Refused(f"{stored} readings in the table, not {len(sent) * size}")
            if number:
                first.append(len(sent) * size / seconds)
                second.append(len(sent) * size / again)
    yield Row(
        "batch of 1,000 sent again",
        UNIT,
        median(second),
        "its first delivery",
        median(first),
        ratio_of(1),
        "0 stored twice",
    )


def rounds(
    bench: Bench,
    connection: Connection,
    work: str,
    attempts: dict[str, Attempt],
) -> dict[str, float]:
    """The median readings/s of each, measured in turn, each on an empty table. Raises Refused
    unless every reading is in the table afterwards.
    """
    found: dict[str, list[float]] = {name: [] for name in attempts}
    for number in range(bench.rounds + 1):
        for name, (readings, send) in attempts.items():
            database.forget_readings(connection)
            seconds = send()
            stored = database.count(connection, bench.empty_cast.devices)
            if stored != readings:
                raise Refused(f"{name}: {stored} readings in the table, not {readings}")
            # The first round only warms up.
            if number:
                found[name].append(readings / seconds)
                say(f"{work}, {name}: {readings / seconds:,.0f} {UNIT}")
    return {name: median(figures) for name, figures in found.items()}


def loads(
    bench: Bench, connection: Connection, servers: list[Server], size: int
) -> dict[str, float]:
    """The median readings/s of each, loaded in turn, each on an empty table. Raises Refused
    unless every answer was 2xx and the readings of each are in the table.
    """
    found: dict[str, list[float]] = {server.name: [] for server in servers}
    files = requests(bench, servers, size)
    for number in range(bench.rounds + 1):
        for server in servers:
            database.forget_readings(connection)
            # The first round warms up.
            seconds = bench.seconds if number else 1
            if server.name == fleet.NAIVE:
                seconds *= NAIVE_TAKES
            load = wrk.batches(server, files[server.name], connections=CONNECTIONS, seconds=seconds)
            # What was on its way when the time was up.
            time.sleep(0.5)
            if load.refused or load.broken:
                raise Refused(f"{server.name}: {load}")
            stored = database.count(connection, bench.empty_cast.devices) / size
            in_flight = 2 * CONNECTIONS
            if (
                server.name != fleet.INFLUX
                and not load.requests <= stored <= load.requests + in_flight
            ):
                raise Refused(f"{server.name}: {load.requests} answers, {stored} batches stored")
            if number:
                found[server.name].append(load.per_second * size)
                say(f"batch of {size:,}, {server.name}: {load.per_second * size:,.0f} {UNIT}")
    return {name: median(figures) for name, figures in found.items()}


def requests(bench: Bench, servers: list[Server], size: int) -> dict[str, Path]:
    """Files of more requests than a server can answer while it is loaded."""
    cast, start = bench.empty_cast, bodies.now()
    json_file, lines_file = FOLDER / "batches.json", FOLDER / "batches.lines"
    number = bench.seconds * FASTEST // size
    sent = bodies.batches(size, number, devices=len(cast.devices), start=start)
    wrk.write(json_file, sent, cast.tokens)
    for server in servers:
        if server.name == fleet.INFLUX:
            number = bench.seconds * INFLUX_FASTEST // size
            lines = bodies.lines(size, number, devices=cast.devices, start=start)
            wrk.write(lines_file, lines, cast.tokens)
            client.post(server.port, "/query", b"q=CREATE+DATABASE+bench")
    return {one.name: lines_file if one.name == fleet.INFLUX else json_file for one in servers}


def poster(bench: Bench, server: Server, size: int, start: datetime) -> Attempt:
    """Sends a round's readings to a server over one connection, in batches of this size."""
    cast, number = bench.empty_cast, bench.readings // size
    sent = bodies.batches(size, number, devices=len(cast.devices), start=start)
    posts = client.posts(server.batch_path, sent, cast.tokens)
    return Attempt(number * size, lambda: client.send(server.port, posts)[0])


def row(
    size: int, how: str, figures: dict[str, float], ours: str, peer: str, goal: Goal | None
) -> Row:
    return Row(f"batch of {size:,}, {how}", UNIT, figures[ours], peer, figures[peer], goal)
