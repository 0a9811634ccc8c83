"""What the processes of the site have counted: each in its own memory, summed up from files.

To count costs a dictionary's entry. A few seconds after the first change a process writes down all
that it has counted, and whoever is asked for the sums reads what every process wrote last
(docs/decisions/0036). Files of ended processes stay, so that no sum ever falls while the site runs;
the first process of a new start removes them.
"""

import atexit
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from common.data_dir import write_private

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; the upper ends of the histogram's buckets, beside one without an end."""
PAUSE = 5.0
"""Seconds from a change to its being written down."""

Key = tuple[str, ...]
"""A name and the values of its labels."""


class MetricsSnapshot(msgspec.Struct):
    """Totals by key; durations: how many fell into each bucket, and their sum at the end; and how
    many of something there are at the moment.
    """

    totals: list[tuple[Key, int]]
    durations: list[tuple[Key, list[float]]]
    present: list[tuple[Key, int]] = []


class MetricsCounter:
    """One process's counts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.totals: dict[Key, int] = {}
        self.durations: dict[Key, list[float]] = {}
        self.there: dict[Key, int] = {}
        self.file: Path | None = None
        self.writing = False

    def add(self, key: Key, count: int = 1) -> None:
        with self.lock:
            self.totals[key] = self.totals.get(key, 0) + count
        self._write_soon()

    def time(self, key: Key, seconds: float) -> None:
        """Count something that took so long."""
        with self.lock:
            buckets = self.durations.get(key)
            if buckets is None:
                buckets = self.durations[key] = [0] * (len(BOUNDS) + 1) + [0.0]
            buckets[bisect_left(BOUNDS, seconds)] += 1
            buckets[-1] += seconds
        self._write_soon()

    @contextmanager
    def present(self, key: Key) -> Iterator[None]:
        """Count something as long as it is there."""
        self._move(key, 1)
        try:
            yield
        finally:
            self._move(key, -1)

    def now(self) -> MetricsSnapshot:
        """What has been counted so far."""
        with self.lock:
            durations = [(key, list(buckets)) for key, buckets in self.durations.items()]
            return MetricsSnapshot(list(self.totals.items()), durations, list(self.there.items()))

    def share(self, folder: Path) -> None:
        """From now on let the other processes that use this folder see what is counted."""
        folder.mkdir(mode=0o700, exist_ok=True)
        delete_stale_files(folder)
        self.file = folder / f"{os.getpid()}-{time.time_ns()}.json"
        atexit.register(self.write)

    def write(self) -> None:
        """Write down what has been counted. A disk that is full is no reason to stop."""
        self.writing = False
        if self.file is not None:
            with suppress(OSError):
                write_private(self.file, msgspec.json.encode(self.now()).decode())

    def _move(self, key: Key, by: int) -> None:
        with self.lock:
            self.there[key] = self.there.get(key, 0) + by
        self._write_soon()

    def _write_soon(self) -> None:
        if self.file is None or self.writing:
            return
        self.writing = True
        timer = threading.Timer(PAUSE, self.write)
        timer.daemon = True
        timer.start()


counter = MetricsCounter()
"""This process's."""


def delete_stale_files(folder: Path) -> None:
    """Remove what was counted by the processes of an earlier start, when none of them lives."""
    files = list(folder.glob("*.json"))
    if not any(map(_lives, files)):
        for file in files:
            file.unlink(missing_ok=True)


def aggregate(folder: Path) -> MetricsSnapshot:
    """The sums of every process; this one's as they are now. With one that has ended all is gone
    that was present in it.
    """
    others = [file for file in sorted(folder.glob("*.json")) if file != counter.file]
    # Numbers of processes come again, in containers at every start.
    newest = {_pid(file): file for file in others}
    found = [counter.now()]
    for file in others:
        with suppress(OSError, msgspec.DecodeError):
            one = msgspec.json.decode(file.read_bytes(), type=MetricsSnapshot)
            if file != newest[_pid(file)] or not _lives(file):
                one.present = []
            found.append(one)
    return _sum(found)


def _lives(file: Path) -> bool:
    """Whether the process whose file this is has not ended."""
    return bool(psutil.pid_exists(_pid(file)))


def _pid(file: Path) -> int:
    return int(file.name.partition("-")[0])


def _sum(found: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
    totals: dict[Key, int] = {}
    durations: dict[Key, list[float]] = {}
    present: dict[Key, int] = {}
    for one in found:
        for sums, counted in ((totals, one.totals), (present, one.present)):
            for key, count in counted:
                sums[key] = sums.get(key, 0) + count
        for key, buckets in one.durations:
            before = durations.get(key, [0.0] * len(buckets))
            durations[key] = [a + b for a, b in zip(before, buckets, strict=True)]
    return MetricsSnapshot(
        sorted(totals.items()), sorted(durations.items()), sorted(present.items())
    )
