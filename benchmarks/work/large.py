"""What changes when much is stored: ingest, months that are dropped, memory."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import date

from benchmarks import bodies, client, database, fleet
from benchmarks.bench import Bench, median
from benchmarks.client import Refused
from benchmarks.database import Connection
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most, ratio_of
from benchmarks.servers import all_running, memory, running
from benchmarks.work.exports import watched

SIZE = 1_000
CONNECTIONS = 4
OFTEN = 4
"""As many times more is sent while a month is dropped: that must not end first."""
SACRIFICE = date(2021, 1, 1)
"""A month before all others, filled to be dropped."""


def ingest(bench: Bench) -> Iterator[Row]:
    """Batches of 1,000 over four connections into the month in which the stored readings end,
    against the same into an empty table; two sites beside each other.
    """
    stored = bench.large_stored
    casts = {database.EMPTY: bench.empty_cast, bench.large: bench.large_cast}
    servers = {name: fleet.ours(name) for name in casts}
    figures: dict[str, list[float]] = {name: [] for name in casts}
    work = f"ingest with {stored.readings / 1e6:.0f} M readings stored, batches of {SIZE:,}"
    with all_running(list(servers.values())):
        for number in range(bench.rounds + 1):
            for name, cast in casts.items():
                sent = bodies.batches(
                    SIZE, bench.readings // SIZE, devices=len(cast.devices), start=bodies.now()
                )
                requests = client.posts(servers[name].batch_path, sent, cast.tokens)
                with database.connect(name) as connection:
                    forget_senders(connection, bench, name)
                    connection.execute("CHECKPOINT")
                    port = servers[name].port
                    seconds, _ = client.send(port, requests, connections=CONNECTIONS)
                    count = database.count(connection, cast.devices)
                    if count != len(sent) * SIZE:
                        raise Refused(f"{name}: {count} readings, not {len(sent) * SIZE}")
                    forget_senders(connection, bench, name)
                if number:
                    figures[name].append(count / seconds)
                    say(f"{work}, {name}: {count / seconds:,.0f} readings/s")
    large, empty = median(figures[bench.large]), median(figures[database.EMPTY])
    yield Row(work, "readings/s", large, "an empty table", empty, ratio_of(0.9))


def drop_month(bench: Bench) -> Iterator[Row]:
    """Drop a month as large as the others while batches come in over two connections: how long
    that takes, how long a sender has to wait meanwhile, and that no request fails.
    """
    from telemetry.retention import partitions

    ours, cast = fleet.ours(bench.large), bench.large_cast
    durations: list[float] = []
    waits: list[float] = []
    with running(ours), database.connect(bench.large) as connection:
        for _ in range(bench.rounds):
            # One that was interrupted has left it.
            for partition in partitions.list_months():
                if partition.first == SACRIFICE:
                    partitions.drop(partition, confirm=lambda: True)
            (sacrificed,) = partitions.ensure([SACRIFICE], now=partitions.month_start(SACRIFICE))
            fill(connection, bench)
            forget_senders(connection, bench, bench.large)
            sent = bodies.batches(
                SIZE, OFTEN * bench.readings // SIZE, devices=len(cast.devices), start=bodies.now()
            )
            requests = client.posts(ours.batch_path, sent, cast.tokens)
            failed: list[Exception] = []
            taken: list[float] = []
            sender = threading.Thread(target=send, args=(ours.port, requests, failed, taken.append))
            sender.start()
            time.sleep(0.3)
            started, before = time.perf_counter(), len(taken)
            assert partitions.drop(sacrificed, confirm=lambda: True)
            durations.append(time.perf_counter() - started)
            still, until = sender.is_alive(), len(taken)
            sender.join()
            # With those that were under way.
            waits += taken[before : until + 2]
            if failed:
                raise Refused(str(failed))
            if not still:
                raise Refused("all was sent before the month was dropped")
            say(f"dropped a month in {durations[-1]:.2f} s, a sender waited {max(waits):.2f} s")
        forget_senders(connection, bench, bench.large)
    work, note = "drop a month while ingesting", f"the longest of {bench.rounds}"
    yield Row(f"{work}: until its files are gone", "s", max(durations), note=note)
    note = f"{note}; no request failed"
    yield Row(f"{work}: a sender waits", "s", max(waits), goal=at_most(0.1), note=note)


def weigh(bench: Bench) -> Iterator[Row]:
    """Memory (PSS) of everything `manage.py run` starts, PostgreSQL apart: at rest after its start,
    and the most it comes to while batches of 10,000 come in over four connections.
    """
    ours, cast = fleet.ours(bench.large), bench.large_cast
    assert bench.large_stored
    with running(ours) as process, database.connect(bench.large) as connection:
        time.sleep(5)
        idle = memory(process)
        forget_senders(connection, bench, bench.large)
        sent = bodies.batches(
            10_000, bench.readings // 10_000, devices=len(cast.devices), start=bodies.now()
        )
        requests = client.posts(ours.batch_path, sent, cast.tokens)
        with watched(process) as weights:
            client.send(ours.port, requests, connections=CONNECTIONS)
        forget_senders(connection, bench, bench.large)
    note = "PSS of site, worker, first device and supervisor"
    yield Row("memory, idle", "MB", idle / 1e6, goal=at_most(512), note=note)
    yield Row("memory, under load", "MB", max(weights) / 1e6, goal=at_most(512), note=note)


def forget_senders(connection: Connection, bench: Bench, name: str) -> None:
    """Remove what the senders have sent, and nothing else."""
    if name == database.EMPTY:
        database.forget_readings(connection)
        return
    senders = bench.large_cast.devices
    connection.execute("DELETE FROM telemetry WHERE device_id = ANY (%s)", [senders])
    connection.execute(f"VACUUM telemetry_{bodies.now():%Y_%m}")


def fill(connection: Connection, bench: Bench) -> None:
    """Copy a whole month of what is stored into the one that is to be dropped."""
    first = bench.large_stored.start
    month = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    connection.execute(
        f"""
        INSERT INTO telemetry_{SACRIFICE:%Y_%m}
        SELECT id, device_id, telemetry_type, payload,
            recorded_at - (%s::timestamptz - %s::timestamptz), created_at
        FROM telemetry_{month:%Y_%m} WHERE extract(day FROM recorded_at AT TIME ZONE 'UTC') <= 28
        """,  # noqa: S608 - two dates
        [month, SACRIFICE],
    )


def send(
    port: int,
    requests: list[client.Request],
    failed: list[Exception],
    told: Callable[[float], None],
) -> None:
    """Send over two connections, and tell of what did not go well."""
    try:
        client.send(port, requests, connections=2, told=told)
    except (Refused, OSError) as reason:
        failed.append(reason)
