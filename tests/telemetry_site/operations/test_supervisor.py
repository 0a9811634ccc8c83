"""The supervisor that keeps the processes of a Procfile running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from common.db.embedded.server import is_running

ROOT = Path(__file__).resolve().parents[3]
RUN = """
import os, sys, time
from pathlib import Path
from telemetry_site.operations.supervisor import supervise
procfile, *awaited = map(Path, sys.argv[1:])
def stopping():
    while not all(file.exists() for file in awaited):
        time.sleep(0.01)
supervise(
    procfile,
    dict(os.environ),
    lambda: print("started", flush=True),
    when_stopping=stopping,
    stop_timeout=1,
)
print("all ended", flush=True)
"""
TIMEOUT_SECONDS = 120
"""Only a failing test waits this many seconds."""


started: list[subprocess.Popen[str]] = []
"""The supervisors of the running test."""


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """Kill the supervisor and its processes if the test has failed before it stopped them."""
    yield
    for process in started:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            for each in [process, *children]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.communicate(timeout=TIMEOUT_SECONDS)
    started.clear()


class Supervisor:
    """A supervisor in its own process, with a Procfile.

    When it stops, it signals its processes only after the awaited files exist.
    """

    def __init__(self, folder: Path, procfile: str, *awaited: Path) -> None:
        (folder / "Procfile").write_text(procfile)
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder / "Procfile"), *map(str, awaited)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(self.process)

    def wait_for(self, text: str) -> str:
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in {seen}")

    def stop(self, number: int = signal.SIGINT) -> str:
        """Stop it and return the rest of its output."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=TIMEOUT_SECONDS)
        assert self.process.returncode == 0
        return rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_process(tmp_path: Path, number: int) -> None:
    supervisor = Supervisor(tmp_path, "one: sleep 600\ntwo: sleep 601\n")
    supervisor.wait_for("started")
    children = psutil.Process(supervisor.process.pid).children(recursive=True)
    supervisor.stop(number)
    _, alive = psutil.wait_procs(children, timeout=TIMEOUT_SECONDS)
    assert alive == []


def test_a_process_that_dies_is_restarted(tmp_path: Path) -> None:
    once = tmp_path / "once"
    script = f"sh -c 'test -e {once} && echo here again && sleep 600; touch {once}; kill -9 $$'"
    supervisor = Supervisor(tmp_path, f"site: {script}\n")
    assert "status -9" in supervisor.wait_for("restarting")
    assert supervisor.wait_for("here again").startswith("site ")
    supervisor.stop()


def test_children_of_a_killed_process_are_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "orphan"
    script = f"sh -c 'sleep 600 & echo $! > {pid_file}; kill -9 $$'"
    supervisor = Supervisor(tmp_path, f"site: {script}\n")
    supervisor.wait_for("restarting")
    orphan = int(pid_file.read_text())
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while is_running(orphan):
        assert time.monotonic() < deadline, "the orphan was not killed"
    supervisor.stop()


def test_a_process_with_exit_status_78_is_not_restarted_and_the_others_continue(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(
        tmp_path, "site: sleep 600\ndone: sh -c 'echo nothing to do; exit 78'\n"
    )
    supervisor.wait_for("nothing to do")
    assert "restarting" not in supervisor.stop()


def test_a_process_that_ends_with_status_0_is_restarted(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(tmp_path, "site: sleep 600\nworker: echo the database has gone\n")
    assert "status 0" in supervisor.wait_for("restarting")
    supervisor.stop()


def test_a_process_started_during_the_shutdown_is_stopped(tmp_path: Path) -> None:
    once, there = tmp_path / "once", tmp_path / "there"
    first = f"test -e {once} || {{ touch {once}; exit 1; }}"
    # A shell cannot trap a signal that was ignored when it started.
    listen = f'trap "echo told; exit" TERM; touch {there}; while :; do sleep 0.05; done'
    supervisor = Supervisor(tmp_path, f"late: sh -c '{first}; {listen}'\n", there)
    supervisor.wait_for("restarting")
    assert "told" in supervisor.stop()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = """sh -c 'trap "" TERM; echo deaf; while :; do sleep 600; done'"""
    supervisor = Supervisor(tmp_path, f"site: {stubborn}\n")
    supervisor.wait_for("deaf")
    children = psutil.Process(supervisor.process.pid).children(recursive=True)
    supervisor.stop()
    assert psutil.wait_procs(children, timeout=TIMEOUT_SECONDS)[1] == []
