"""Run the processes of a Procfile: start them, print their output, restart those that exit."""

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

MAX_RESTART_DELAY = 30.0
"""Seconds; the delay before a restart doubles up to this."""
STOP_TIMEOUT = 10.0
"""Seconds that a process has to exit before it is killed."""
EXIT_DO_NOT_RESTART = os.EX_CONFIG
"""The exit status (78, sysexits.h) of a process that must not be restarted."""


class ProcessThread(threading.Thread):
    """One process. It is restarted when it exits, unless with EXIT_DO_NOT_RESTART."""

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
            if time.monotonic() - started > MAX_RESTART_DELAY:
                pause = 1.0
            log_line(self.name, f"exited with status {status}; restarting in {pause:.0f} s")
            self.stopping.wait(pause)
            pause = min(pause * 2, MAX_RESTART_DELAY)

    def stop(self) -> None:
        """Send SIGTERM, and do not start the process again, nor for the first time."""
        with self.starting:
            self.stopping.set()
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and all its child processes."""
        self._signal(signal.SIGKILL)

    def _run_once(self) -> int:
        with self.starting:
            if self.stopping.is_set():
                return 0
            self.process = process = self._start()
        reader = threading.Thread(target=self._repeat_output, args=[process.stdout], daemon=True)
        reader.start()
        status = process.wait()
        # Child processes of a killed process could still hold its port.
        self.kill()
        reader.join(STOP_TIMEOUT)
        # The system may give its process id to another process.
        self.process = None
        return status

    def _start(self) -> subprocess.Popen[str]:
        # A new session: Ctrl-C reaches only the supervisor, which stops the processes in order.
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
    stop_timeout: float = STOP_TIMEOUT,
) -> None:
    """Run all processes of the Procfile until SIGINT or SIGTERM, then stop them and return.

    Start the `first` processes, call `when_started`, then start the others, which need the first
    ones. To stop, call `when_stopping`, then send SIGTERM to all processes. Kill those that have
    not exited `stop_timeout` seconds later.
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
        # Not signal.pause(): a signal just before it would be missed (race).
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        log_line("run", "stopping …")
    finally:
        # A second Ctrl-C must not interrupt this. Not SIG_IGN: a process that is just being started
        # would inherit that and ignore SIGTERM.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        when_stopping()
        for process in processes:
            process.stop()
        deadline = time.monotonic() + stop_timeout
        for process in processes:
            if process.is_alive():
                process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log_line(process.name, "has not exited in time: it is killed")
            process.kill()


def log_line(name: str, line: str) -> None:
    """Print a line with the name of its process, in one write, so that lines are never mixed.

    A JSON object (LOG_FORMAT=json) is printed without the name.
    """
    sys.stdout.write(f"{line}\n" if line.startswith("{") else f"{name:<6} | {line}\n")
    sys.stdout.flush()
