"""A million readings out of a device, as a file."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import psutil

from benchmarks import fleet
from benchmarks.bench import Bench, median
from benchmarks.client import Refused
from benchmarks.dataset import STEP
from benchmarks.paths import HOST
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_least
from benchmarks.servers import memory, running

READINGS = 1_000_000
PIECE = 1 << 20


def measure(bench: Bench) -> Iterator[Row]:
    """Exports over HTTP, from the request to the last byte, which is counted and not kept; and how
    far the memory of site and worker rises above what they held before.
    """
    stored, ours = bench.large_stored, fleet.ours(bench.large)
    with running(ours) as process:
        for form in ("csv", "ndjson"):
            query = {
                "format": form,
                "from": (stored.end - STEP * READINGS).isoformat(),
                "to": stored.end.isoformat(),
            }
            path = f"/api/v1/devices/{stored.device}/telemetry/export?{urlencode(query)}"
            work, rates = f"export of 1 M readings, {form}", []
            with watched(process) as peak:
                before = memory(process)
                for _ in range(bench.rounds):
                    seconds, lines = download(ours.port, path, bench.large_cast.user_token)
                    if not 0 <= lines - READINGS <= 1:
                        raise Refused(f"{work}: {lines} lines")
                    rates.append(READINGS / seconds)
                    say(f"{work}: {rates[-1]:,.0f} readings/s")
            note = f"memory {before / 1e6:.0f} MB, at most {max(peak) / 1e6:.0f} MB meanwhile"
            yield Row(work, "readings/s", median(rates), goal=at_least(300_000), note=note)


def download(port: int, path: str, token: str) -> tuple[float, int]:
    """The seconds until the last byte, and the number of lines. Raises Refused."""
    line = http.client.HTTPConnection(HOST, port, timeout=120)
    started, lines = time.perf_counter(), 0
    line.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = line.getresponse()
    if answer.status != 200:
        raise Refused(f"GET {path.partition('?')[0]} was answered {answer.status}")
    while piece := answer.read(PIECE):
        lines += piece.count(b"\n")
    line.close()
    return time.perf_counter() - started, lines


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[int]]:
    """The memory of a server, weighed again and again for as long as the block lasts."""
    weights, over = [memory(process)], threading.Event()

    def watch() -> None:
        while not over.wait(0.25):
            weights.append(memory(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield weights
    finally:
        over.set()
        watcher.join()
