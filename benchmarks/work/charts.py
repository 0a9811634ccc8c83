"""What a chart is drawn from, over HTTP."""

import random
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

from benchmarks import client, fleet
from benchmarks.bench import Bench, median, percentile
from benchmarks.client import Refused
from benchmarks.dataset import KEYS, TYPE, Stored
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most
from benchmarks.servers import running

RANGES = {
    "1 hour": timedelta(hours=1),
    "1 day": timedelta(days=1),
    "1 week": timedelta(weeks=1),
    "30 days": timedelta(days=30),
    "1 year": timedelta(days=365),
}
TIMES = 40
"""How often each is asked for in a round, each time of another moment of the year."""
LONGEST = 10.0
"""Seconds that are spent on one range, however slow it is."""


def measure(bench: Bench) -> Iterator[Row]:
    """Charts of three keys of a device that sent every 10 s for a year, at most 500 points,
    one after the other over one connection.
    """
    stored, ours, chance = bench.large_stored, fleet.ours(bench.large), random.Random(1)  # noqa: S311
    with running(ours), client.Line(ours.port, bench.large_cast.user_token) as line:
        for name, length in RANGES.items():
            work = f"chart of {name}, 3 keys of {stored.readings / 1e6:.0f} M readings"
            taken: list[float] = []
            largest = 0
            try:
                for _ in range(bench.rounds * TIMES):
                    asked = path(stored, length, chance)
                    seconds, body = line.get(asked)
                    taken.append(seconds * 1000)
                    largest = max(largest, len(body))
                    if sum(taken) > LONGEST * 1000:
                        break
            except Refused as reason:
                yield Row(work, "ms, p95", goal=at_most(30), note=str(reason))
                continue
            slow, note = percentile(taken, 95), f"p50 {median(taken):.1f} ms"
            say(f"{work}: p95 {slow:.1f} ms, {note}, {largest / 1000:.0f} KB")
            yield Row(work, "ms, p95", slow, goal=at_most(30), note=note)
            yield Row(work, "KB, the largest", largest / 1000, goal=at_most(100))


def path(stored: Stored, length: timedelta, chance: random.Random) -> str:
    """A chart of this length that ends at some minute of the year."""
    room = (stored.end - stored.start - length) // timedelta(minutes=1)
    start = stored.start + timedelta(minutes=chance.randint(0, room))
    query = [("key", f"{TYPE}.{key}") for key in KEYS]
    query += [("from", start.isoformat()), ("to", (start + length).isoformat())]
    return f"/api/v1/devices/{stored.device}/telemetry/series?{urlencode(query)}"
