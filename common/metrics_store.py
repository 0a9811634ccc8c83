"""Metrics of all processes of the site: each counts in memory and writes its counts to a file.

Counting updates a dictionary entry. A process writes its file a few seconds after a change, and
the process that serves the metrics sums the files of all processes (docs/decisions/0036). The files
of exited processes stay, so that no sum decreases while the site runs. The first process of the
next start removes them.
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

BUCKET_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; upper bounds of the histogram's buckets. A last bucket has no upper bound."""
WRITE_INTERVAL = 5.0
"""Seconds from a change to the next write of the file."""

Key = tuple[str, ...]
"""The name of a metric and the values of its labels."""


class MetricsSnapshot(msgspec.Struct):
    """Metrics by key.

    `durations` has the count of each bucket and, last, the sum of the seconds. `present` has
    gauges: how many of something exist now.
    """

    totals: list[tuple[Key, int]]
    durations: list[tuple[Key, list[float]]]
    present: list[tuple[Key, int]] = []


class MetricsCounter:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.totals: dict[Key, int] = {}
        self.durations: dict[Key, list[float]] = {}
        self.gauges: dict[Key, int] = {}
        self.file: Path | None = None
        self.writing = False

    def add(self, key: Key, count: int = 1) -> None:
        with self.lock:
            self.totals[key] = self.totals.get(key, 0) + count
        self._write_soon()

    def time(self, key: Key, seconds: float) -> None:
        """Count a duration in the histogram of this key."""
        with self.lock:
            buckets = self.durations.get(key)
            if buckets is None:
                buckets = self.durations[key] = [0] * (len(BUCKET_BOUNDS) + 1) + [0.0]
            buckets[bisect_left(BUCKET_BOUNDS, seconds)] += 1
            buckets[-1] += seconds
        self._write_soon()

    @contextmanager
    def track_gauge(self, key: Key) -> Iterator[None]:
        """Add 1 to the gauge of this key while the context is open."""
        self._change_gauge(key, 1)
        try:
            yield
        finally:
            self._change_gauge(key, -1)

    def snapshot(self) -> MetricsSnapshot:
        """Return the current metrics of this process."""
        with self.lock:
            durations = [(key, list(buckets)) for key, buckets in self.durations.items()]
            return MetricsSnapshot(list(self.totals.items()), durations, list(self.gauges.items()))

    def persist_to(self, folder: Path) -> None:
        """Write the metrics to this folder from now on, where other processes read them."""
        folder.mkdir(mode=0o700, exist_ok=True)
        delete_stale_files(folder)
        self.file = folder / f"{os.getpid()}-{time.time_ns()}.json"
        atexit.register(self.write)

    def write(self) -> None:
        """Write the metrics to the file. Errors, such as a full disk, are ignored."""
        self.writing = False
        if self.file is not None:
            with suppress(OSError):
                write_private(self.file, msgspec.json.encode(self.snapshot()).decode())

    def _change_gauge(self, key: Key, change: int) -> None:
        with self.lock:
            self.gauges[key] = self.gauges.get(key, 0) + change
        self._write_soon()

    def _write_soon(self) -> None:
        if self.file is None or self.writing:
            return
        self.writing = True
        timer = threading.Timer(WRITE_INTERVAL, self.write)
        timer.daemon = True
        timer.start()


counter = MetricsCounter()
"""The metrics of this process."""


def delete_stale_files(folder: Path) -> None:
    """Remove the files of an earlier start, if all its processes have exited."""
    files = list(folder.glob("*.json"))
    if not any(map(_is_process_running, files)):
        for file in files:
            file.unlink(missing_ok=True)


def aggregate(folder: Path) -> MetricsSnapshot:
    """Sum the metrics of all processes, with current values for this one. Gauges of exited
    processes are dropped.
    """
    others = [file for file in sorted(folder.glob("*.json")) if file != counter.file]
    # Process ids are reused, in containers at every start.
    newest = {_pid(file): file for file in others}
    found = [counter.snapshot()]
    for file in others:
        with suppress(OSError, msgspec.DecodeError):
            snapshot = msgspec.json.decode(file.read_bytes(), type=MetricsSnapshot)
            if file != newest[_pid(file)] or not _is_process_running(file):
                snapshot.present = []
            found.append(snapshot)
    return _sum(found)


def _is_process_running(file: Path) -> bool:
    """Return whether the process that wrote this file still runs."""
    return bool(psutil.pid_exists(_pid(file)))


def _pid(file: Path) -> int:
    return int(file.name.partition("-")[0])


def _sum(snapshots: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
    totals: dict[Key, int] = {}
    durations: dict[Key, list[float]] = {}
    present: dict[Key, int] = {}
    for snapshot in snapshots:
        for sums, counted in (
            (totals, snapshot.totals),
            (present, snapshot.present),
        ):
            for key, count in counted:
                sums[key] = sums.get(key, 0) + count
        for key, buckets in snapshot.durations:
            before = durations.get(key, [0.0] * len(buckets))
            durations[key] = [a + b for a, b in zip(before, buckets, strict=True)]
    return MetricsSnapshot(
        sorted(totals.items()), sorted(durations.items()), sorted(present.items())
    )
