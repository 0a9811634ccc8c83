"""What processes count, and how the others learn of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import metrics_store
from common.metrics_store import MetricsCounter


@pytest.fixture
def shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[MetricsCounter, MetricsCounter]:
    """This process's counter and that of another, in one folder."""
    monkeypatch.setattr(metrics_store, "PAUSE", 0.001)
    monkeypatch.setattr(metrics_store.atexit, "register", lambda work: None)
    ours, other = MetricsCounter(), MetricsCounter()
    for one in (ours, other):
        one.share(tmp_path)
    monkeypatch.setattr(metrics_store, "counter", ours)
    return ours, other


def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_sums_are_of_all_processes(
    shared: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, other = shared
    ours.add(("readings", "accepted"), 2)
    other.add(("readings", "accepted"), 40)
    other.add(("refused", "429"))
    for one in shared:
        one.time(("api", "200"), 0.002)
    other.write()
    found = metrics_store.aggregate(tmp_path)
    assert found.totals == [(("readings", "accepted"), 42), (("refused", "429"), 1)]
    ((key, buckets),) = found.durations
    assert key == ("api", "200")
    assert buckets == [0, 2] + [0] * 12 + [0.004]


def test_this_process_is_counted_once_and_up_to_now(
    shared: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, _ = shared
    ours.add(("a",))
    ours.write()
    ours.add(("a",))
    assert metrics_store.aggregate(tmp_path).totals == [(("a",), 2)]


def test_a_change_is_written_down_by_itself(
    shared: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    _, other = shared
    other.add(("a",))
    while other.writing:
        pass
    while not metrics_store.aggregate(tmp_path).totals:
        pass


def test_a_duration_falls_into_the_bucket_whose_end_it_does_not_pass() -> None:
    counter = MetricsCounter()
    for seconds in (0.001, 0.0011, 10.0, 11.0):
        counter.time(("a",), seconds)
    ((_, buckets),) = counter.now().durations
    assert buckets[:-1] == [1, 1] + [0] * 10 + [1, 1]


def test_the_dead_are_counted_as_long_as_one_lives(tmp_path: Path) -> None:
    alive, dead = tmp_path / f"{os.getpid()}-1.json", tmp_path / f"{ended()}-1.json"
    for file in (alive, dead):
        file.write_text("{}")
    metrics_store.delete_stale_files(tmp_path)
    assert dead.exists()
    alive.unlink()
    metrics_store.delete_stale_files(tmp_path)
    assert not dead.exists()


def test_a_file_that_cannot_be_read_or_written_stops_nothing(
    shared: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, other = shared
    (tmp_path / f"{os.getpid()}-1.json").write_text("{")
    other.file = tmp_path / "no such folder" / "1-1.json"
    other.write()
    ours.add(("a",))
    assert metrics_store.aggregate(tmp_path).totals == [(("a",), 1)]


def test_what_is_present_is_counted_as_long_as_it_is_there(
    shared: tuple[MetricsCounter, MetricsCounter], tmp_path: Path
) -> None:
    ours, other = shared
    with ours.present(("a",)), other.present(("a",)), other.present(("a",)):
        other.write()
        assert metrics_store.aggregate(tmp_path).present == [(("a",), 3)]
    other.write()
    assert metrics_store.aggregate(tmp_path).present == [(("a",), 0)]


@pytest.mark.parametrize("later", [True, False])
def test_what_was_present_in_a_process_that_was_killed_is_gone(
    shared: tuple[MetricsCounter, MetricsCounter], tmp_path: Path, later: bool
) -> None:
    _, other = shared
    other.file = tmp_path / (f"{os.getppid()}-1.json" if later else f"{ended()}-1.json")
    if later:
        # Its number is another's by now.
        (tmp_path / f"{os.getppid()}-2.json").write_text('{"totals": [], "durations": []}')
    with other.present(("a",)):
        other.add(("b",))
        other.write()
    found = metrics_store.aggregate(tmp_path)
    assert (found.totals, found.present) == ([(("b",), 1)], [])
