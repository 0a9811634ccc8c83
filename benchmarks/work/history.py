"""Readings as they were stored: the newest, pages at any depth, a thousand at once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import bodies, client, database, fleet
from benchmarks.bench import Bench, median
from benchmarks.dataset import STEP, Stored
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most, ratio_of
from benchmarks.servers import all_running, running

TIMES = 50
DEPTHS = (1, 10_000, 1_000_000)
PAGE = 100


def newest(bench: Bench) -> Iterator[Row]:
    """The newest reading of each type of 50 devices, in one statement; the time in SQL."""
    from devices.models import Device
    from telemetry.queries import history

    devices = list(Device.objects.filter(pk__in=bench.large_stored.fleet[:50]))
    # As the list of devices asks for them.
    taken = sql_milliseconds(
        lambda: history.latest_readings(devices, depth=20, include_rare_types=False)
    )
    yield Row("newest readings of 50 devices", "ms in SQL", taken, goal=at_most(2))


def pages(bench: Bench) -> Iterator[Row]:
    """A page of 100 readings behind so many others: the time in SQL, and over HTTP."""
    from devices.models import Device
    from telemetry.queries import history

    stored, ours = bench.large_stored, fleet.ours(bench.large)
    device = Device.objects.get(pk=stored.device)
    with running(ours):
        for depth in DEPTHS:
            cursor = cursor_at(device, stored, depth)
            taken = sql_milliseconds(
                lambda cursor=cursor: history.page(device, limit=PAGE, cursor=cursor)  # type: ignore[misc]
            )
            path = f"/api/v1/devices/{stored.device}/telemetry?limit={PAGE}&cursor={cursor}"
            seconds = client.gets(ours.port, path, bench.large_cast.user_token, times=TIMES)
            note = f"{median(seconds) * 1000:.1f} ms over HTTP"
            work = f"page of {PAGE} readings at depth {depth:,}"
            say(f"{work}: {taken:.2f} ms in SQL, {note}")
            yield Row(work, "ms in SQL", taken, goal=at_most(1.5), note=note)


def thousand(bench: Bench) -> Iterator[Row]:
    """GET of a device's newest 1,000 readings with its own token, over one connection, against
    ModelSerializer.
    """
    work, unit, count = "GET of 1,000 readings", "requests/s", 20
    ours, peer, cast = fleet.ours(), fleet.naive_drf(), bench.empty_cast
    asked = [
        (ours, f"/api/v1/devices/{cast.devices[0]}/telemetry?limit=1000"),
        (peer, "/readings/?limit=1000"),
    ]
    figures: dict[str, list[float]] = {server.name: [] for server, _ in asked}
    with database.connect(database.EMPTY) as connection, all_running([ours, peer]):
        database.forget_readings(connection)
        sent = bodies.batches(1_000, 1, devices=1, start=bodies.now())
        client.send(ours.port, client.posts(ours.batch_path, sent, cast.tokens))
        for number in range(bench.rounds + 1):
            for server, path in asked:
                seconds = client.gets(server.port, path, cast.tokens[0], times=count)
                if number:
                    rate = count / sum(seconds)
                    figures[server.name].append(rate)
                    say(f"{work}, {server.name}: {rate:.0f} {unit}")
    mine, theirs = median(figures[ours.name]), median(figures[peer.name])
    yield Row(work, unit, mine, peer.name, theirs, ratio_of(8))


def cursor_at(device: Any, stored: Stored, depth: int) -> str:
    """The cursor behind the device's newest `depth` readings."""
    from telemetry.queries import history

    end = stored.end - STEP * (depth - 1)
    cursor = history.page(device, limit=1, end=end).next
    assert cursor
    return cursor


def sql_milliseconds(ask: Callable[[], object]) -> float:
    """The median time from sending the statements of a question to having their rows."""
    from django.db import connection

    taken = []
    spent = 0.0

    def timed(execute: Any, *arguments: Any) -> Any:
        nonlocal spent
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            spent += time.perf_counter() - started

    with connection.execute_wrapper(timed):
        for _ in range(TIMES):
            spent = 0.0
            ask()
            taken.append(spent * 1000)
    return median(taken)
