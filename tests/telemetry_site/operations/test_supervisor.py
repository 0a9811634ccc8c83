"""How the processes of a Procfile are kept running."""

import os
import signal
import subprocess
import sys
import time
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
    patience=1,
)
print("all ended", flush=True)
"""
PATIENCE = 20
"""Seconds that only a failure waits for."""


class Supervisor:
    """A supervisor in a process of its own, with the Procfile it is given.

    Once it is told to end, it tells its processes when the awaited files are there.
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

    def wait_for(self, text: str) -> str:
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in {seen}")

    def stop(self, number: int = signal.SIGINT) -> str:
        """End it, and return what it still had to say."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0
        return rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process_in_order(tmp_path: Path, number: int) -> None:
    supervisor = Supervisor(tmp_path, "one: sleep 600\ntwo: sleep 601\n")
    supervisor.wait_for("started")
    children = psutil.Process(supervisor.process.pid).children(recursive=True)
    supervisor.stop(number)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert alive == []


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    once = tmp_path / "once"
    script = f"sh -c 'test -e {once} && echo here again && sleep 600; touch {once}; kill -9 $$'"
    supervisor = Supervisor(tmp_path, f"site: {script}\n")
    assert "status -9" in supervisor.wait_for("starting again")
    assert supervisor.wait_for("here again").startswith("site ")
    supervisor.stop()


def test_what_a_killed_process_leaves_behind_goes_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "orphan"
    script = f"sh -c 'sleep 600 & echo $! > {pid_file}; kill -9 $$'"
    supervisor = Supervisor(tmp_path, f"site: {script}\n")
    supervisor.wait_for("starting again")
    orphan = int(pid_file.read_text())
    deadline = time.monotonic() + PATIENCE
    while is_running(orphan):
        assert time.monotonic() < deadline
    supervisor.stop()


def test_a_process_with_nothing_left_to_do_stays_ended_and_the_others_run_on(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(
        tmp_path, "site: sleep 600\ndone: sh -c 'echo nothing to do; exit 78'\n"
    )
    supervisor.wait_for("nothing to do")
    assert "starting again" not in supervisor.stop()


def test_a_process_that_ends_without_being_told_to_is_started_again_however_well_it_ends(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(tmp_path, "site: sleep 600\nworker: echo the database has gone\n")
    assert "status 0" in supervisor.wait_for("starting again")
    supervisor.stop()


def test_a_process_that_starts_while_all_are_ending_hears_of_it(tmp_path: Path) -> None:
    once, there = tmp_path / "once", tmp_path / "there"
    first = f"test -e {once} || {{ touch {once}; exit 1; }}"
    # What is ignored when a shell starts, it cannot trap.
    listen = f'trap "echo told; exit" TERM; touch {there}; while :; do sleep 0.05; done'
    supervisor = Supervisor(tmp_path, f"late: sh -c '{first}; {listen}'\n", there)
    supervisor.wait_for("starting again")
    assert "told" in supervisor.stop()


def test_a_process_that_will_not_end_is_killed(tmp_path: Path) -> None:
    stubborn = """sh -c 'trap "" TERM; echo deaf; while :; do sleep 600; done'"""
    supervisor = Supervisor(tmp_path, f"site: {stubborn}\n")
    supervisor.wait_for("deaf")
    children = psutil.Process(supervisor.process.pid).children(recursive=True)
    supervisor.stop()
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []
