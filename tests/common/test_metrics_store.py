"""Metrics of several processes, shared through files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import metrics_store
from common.metrics_store import MetricsCounter
from tests.waits import wait_until


@pytest.fixture
def counters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[MetricsCounter, MetricsCounter]:
    """The counters of this and another process, in one folder."""
    monkeypatch.setattr(metrics_store, "WRITE_INTERVAL", 0.001)
    monkeypatch.setattr(metrics_store.atexit, "register", lambda work: None)
    ours, other = MetricsCounter(), MetricsCounter()
    for one in (ours, other):
        one.persist_to(tmp_path)
    monkeypatch.setattr(metrics_store, "counter", ours)
    return ours, other


def ended_pid() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_totals_and_durations_are_summed_over_all_processes(
    counters: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, other = counters
    ours.add(("readings", "accepted"), 2)
    other.add(("readings", "accepted"), 40)
    other.add(("refused", "429"))
    for one in counters:
        one.time(("api", "200"), 0.002)
    other.write()
    found = metrics_store.aggregate(tmp_path)
    assert found.totals == [(("readings", "accepted"), 42), (("refused", "429"), 1)]
    ((key, buckets),) = found.durations
    assert key == ("api", "200")
    assert buckets == [0, 2] + [0] * 12 + [0.004]


def test_this_process_is_counted_once_with_its_current_values(
    counters: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, _ = counters
    ours.add(("a",))
    ours.write()
    ours.add(("a",))
    assert metrics_store.aggregate(tmp_path).totals == [(("a",), 2)]


def test_a_change_is_written_automatically(
    counters: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    _, other = counters
    other.add(("a",))
    wait_until(lambda: not other.writing, "the change is written")
    wait_until(lambda: metrics_store.aggregate(tmp_path).totals, "the change is in the totals")


def test_a_duration_is_counted_in_the_bucket_of_its_upper_bound() -> None:
    counter = MetricsCounter()
    for seconds in (0.001, 0.0011, 10.0, 11.0):
        counter.time(("a",), seconds)
    ((_, buckets),) = counter.snapshot().durations
    assert buckets[:-1] == [1, 1] + [0] * 10 + [1, 1]


def test_stale_files_are_deleted_after_all_processes_have_ended(tmp_path: Path) -> None:
    current, stale = tmp_path / f"{os.getpid()}-1.json", tmp_path / f"{ended_pid()}-1.json"
    for file in (current, stale):
        file.write_text("{}")
    metrics_store.delete_stale_files(tmp_path)
    assert stale.exists()
    current.unlink()
    metrics_store.delete_stale_files(tmp_path)
    assert not stale.exists()


def test_a_file_that_cannot_be_read_or_written_is_ignored(
    counters: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, other = counters
    (tmp_path / f"{os.getpid()}-1.json").write_text("{")
    other.file = tmp_path / "no such folder" / "1-1.json"
    other.write()
    ours.add(("a",))
    assert metrics_store.aggregate(tmp_path).totals == [(("a",), 1)]


def test_gauges_are_summed_while_they_are_tracked(
    counters: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, other = counters
    with ours.track_gauge(("a",)), other.track_gauge(("a",)), other.track_gauge(("a",)):
        other.write()
        assert metrics_store.aggregate(tmp_path).present == [(("a",), 3)]
    other.write()
    assert metrics_store.aggregate(tmp_path).present == [(("a",), 0)]


@pytest.mark.parametrize("pid_reused", [True, False])
def test_gauges_of_a_killed_process_are_dropped(
    counters: tuple[MetricsCounter, MetricsCounter], tmp_path: Path, pid_reused: bool
) -> None:
    _, other = counters
    other.file = tmp_path / (f"{os.getppid()}-1.json" if pid_reused else f"{ended_pid()}-1.json")
    if pid_reused:
        # The process id was reused by another process.
        (tmp_path / f"{os.getppid()}-2.json").write_text('{"totals": [], "durations": []}')
    with other.track_gauge(("a",)):
        other.add(("b",))
        other.write()
    found = metrics_store.aggregate(tmp_path)
    assert (found.totals, found.present) == ([(("b",), 1)], [])
