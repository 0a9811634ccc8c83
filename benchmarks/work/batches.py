"""Readings sent many at a time."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import NamedTuple

from benchmarks import bodies, client, database, fleet
from benchmarks.bench import Bench, median
from benchmarks.client import Refused
from benchmarks.database import Connection
from benchmarks.peers import raw_copy
from benchmarks.progress import say
from benchmarks.rows import Goal, Row, ratio_of
from benchmarks.servers import NotHere, Server, running

UNIT = "readings/s"
CONNECTIONS = 4
NAIVE_BATCHES = 4
"""The naive peer takes a thousand times as long as a reading is worth waiting for."""


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
                "ours": poster(bench, ours, size, start, connections=1),
                "raw COPY": Attempt(number * size, partial(raw_copy.copy, copying, rows)),
            }
            work = f"batch of {size:,}, one connection"
            figures = rounds(bench, connection, work, attempts)
            yield row(size, "one connection", figures, "raw COPY", goals.get(size))


def against_servers(bench: Bench) -> Iterator[Row]:
    """The same batches over HTTP on four connections, to every server."""
    goals = {1_000: ratio_of(1.1), 10_000: ratio_of(1.3)}
    peers: list[tuple[Server, bool]] = []
    for peer_of in (fleet.go_chi, fleet.fastapi, fleet.naive_drf, fleet.influxdb):
        try:
            peers.append((peer_of(), peer_of is fleet.go_chi))
        except NotHere as reason:
            goal = goals[1_000] if peer_of is fleet.go_chi else None
            yield Row("batches", UNIT, peer=peer_of.__name__, goal=goal, note=str(reason))
    ours = fleet.ours()
    with ExitStack() as stack:
        connection = stack.enter_context(database.connect(database.EMPTY))
        for server in (ours, *(peer for peer, _ in peers)):
            stack.enter_context(running(server))
        for size in (*bench.small_batches, 1_000, 10_000):
            start = bodies.now()
            attempts = {"ours": poster(bench, ours, size, start, connections=CONNECTIONS)}
            for peer, _ in peers:
                if peer.name == fleet.NAIVE and size != 1_000:
                    continue
                attempts[peer.name] = poster(bench, peer, size, start, connections=CONNECTIONS)
            work = f"batch of {size:,}, {CONNECTIONS} connections"
            figures = rounds(bench, connection, work, attempts)
            for peer, has_goal in peers:
                if peer.name in figures:
                    goal = goals.get(size) if has_goal else None
                    yield row(size, f"{CONNECTIONS} connections", figures, peer.name, goal)


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
            if name != fleet.INFLUX:
                stored = database.count(connection, bench.empty_cast.devices)
                if stored != readings:
                    raise Refused(f"{name}: {stored} readings in the table, not {readings}")
            # The first round only warms up.
            if number:
                found[name].append(readings / seconds)
                say(f"{work}, {name}: {readings / seconds:,.0f} {UNIT}")
    return {name: median(figures) for name, figures in found.items()}


def poster(
    bench: Bench, server: Server, size: int, start: datetime, *, connections: int
) -> Attempt:
    """Sends a round's readings to a server, in batches of this size."""
    cast, number = bench.empty_cast, bench.readings // size
    if server.name == fleet.NAIVE:
        number = min(number, NAIVE_BATCHES)
    if server.name == fleet.INFLUX:
        client.post(server.port, "/query", b"q=CREATE+DATABASE+bench")
        sent = bodies.lines(size, number, devices=cast.devices, start=start)
    else:
        sent = bodies.batches(size, number, devices=len(cast.devices), start=start)
    requests = client.posts(server.batch_path, sent, cast.tokens)
    return Attempt(
        number * size,
        lambda: client.send(server.port, requests, connections=connections)[0],
    )


def row(size: int, how: str, figures: dict[str, float], peer: str, goal: Goal | None) -> Row:
    return Row(f"batch of {size:,}, {how}", UNIT, figures["ours"], peer, figures[peer], goal)
