"""Runs the processes of a Procfile: starts them, shows what they say, restarts what dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

LONGEST_PAUSE = 30.0
"""Seconds; the pause before a restart doubles up to this."""
PATIENCE = 10.0
"""Seconds a process has to end by itself before it is killed."""


EXIT_DO_NOT_RESTART = os.EX_CONFIG
"""The exit status (78, sysexits.h) of a process that another start would not help."""


class ProcessThread(threading.Thread):
    """One process, started again whenever it ends by itself, unless with NOTHING_TO_DO."""

    def __init__(self, name: str, command: str, environment: Mapping[str, str]) -> None:
        super().__init__(name=name, daemon=True)
        self.command = command
        self.environment = environment
        self.stopping = threading.Event()
        self.starting = threading.Lock()
        self.process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        pause = 1.0
        while not self.stopping.is_set():
            started = time.monotonic()
            status = self._run_once()
            if status == EXIT_DO_NOT_RESTART or self.stopping.is_set():
                return
            if time.monotonic() - started > LONGEST_PAUSE:
                pause = 1.0
            log_line(self.name, f"ended with status {status}; starting again in {pause:.0f} s")
            self.stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def stop(self) -> None:
        """Ask it to end, and do not start it again, nor for the first time."""
        with self.starting:
            self.stopping.set()
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and everything that it started, now."""
        self._signal(signal.SIGKILL)

    def _run_once(self) -> int:
        with self.starting:
            if self.stopping.is_set():
                return 0
            self.process = process = self._start()
        reader = threading.Thread(target=self._repeat_output, args=[process.stdout], daemon=True)
        reader.start()
        status = process.wait()
        # Children of one that was killed would hold its port.
        self.kill()
        reader.join(PATIENCE)
        # Its number may soon be somebody else's.
        self.process = None
        return status

    def _start(self) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C reaches the supervisor alone, which ends all in order.
        return subprocess.Popen(  # noqa: S602 - the Procfile is ours
            f"exec {self.command}",
            shell=True,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _repeat_output(self, output: IO[str]) -> None:
        with output:
            for line in output:
                log_line(self.name, line.rstrip("\n"))

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def supervise(
    procfile: Path,
    environment: Mapping[str, str],
    when_started: Callable[[], None],
    *,
    first: int = 1,
    when_stopping: Callable[[], None] = lambda: None,
    patience: float = PATIENCE,
) -> None:
    """Run everything in the Procfile until SIGINT or SIGTERM, then end it and return.

    The `first` processes are those that the others talk to: they follow `when_started`. Once told
    to end, `when_stopping` comes before the processes are told. What has not ended `patience`
    seconds after that is killed.
    """
    processes = [
        ProcessThread(name.strip(), command.strip(), environment)
        for name, colon, command in (
            line.partition(":") for line in procfile.read_text(encoding="utf-8").splitlines()
        )
        if colon and not name.startswith("#")
    ]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for process in processes[:first]:
            process.start()
        when_started()
        for process in processes[first:]:
            process.start()
        # Not signal.pause(): a signal that comes just before it would be waited for once more.
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        log_line("run", "stopping …")
    finally:
        # A second Ctrl-C must not leave anything running. Not SIG_IGN: what is just being started
        # would take that over, and not hear that it is to end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        when_stopping()
        for process in processes:
            process.stop()
        deadline = time.monotonic() + patience
        for process in processes:
            if process.is_alive():
                process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log_line(process.name, "has not ended by itself: it is killed")
            process.kill()


def log_line(name: str, line: str) -> None:
    """Print a line with its speaker's name; one write, so that lines never mix.

    An object of a log for programs is left whole.
    """
    sys.stdout.write(f"{line}\n" if line.startswith("{") else f"{name:<6} | {line}\n")
    sys.stdout.flush()
