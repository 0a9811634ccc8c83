"""Running sites, and a house full of devices on one of them."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 120
"""The time limit of every wait, in seconds. Only a failing test waits this long."""


UNMEASURED = {"COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"}
"""Without them in its environment a process counts no lines, and takes half the time."""


class Site:
    """A running site, and what it prints. Its coverage is measured only where that is asked for."""

    def __init__(self, data_dir: Path, *, measured: bool = False, **environment: str) -> None:
        self.port, self.live_port = free_port(), free_port()
        self.data_dir = data_dir
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "run"],
            cwd=ROOT,
            env=process_environment(measured=measured)
            | {
                "DATA_DIR": str(data_dir),
                "PORT": str(self.port),
                "LIVE_PORT": str(self.live_port),
                "DATABASE_URL": "",
                # One less to wait for.
                "GRANIAN_WORKERS": "1",
            }
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the site if it is still running, so that no process is left after the test."""
        if self.process.poll() is None:
            self.stop()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that matches."""
        while True:
            try:
                line = self.lines.get(timeout=TIMEOUT_SECONDS)
            except queue.Empty:
                pytest.fail(f"the site printed no line like {pattern!r}:\n" + "".join(self.said))
            assert line is not None, "the site ended:\n" + "".join(self.said)
            if match := re.search(pattern, line):
                return match

    def kill(self, program: str) -> None:
        """kill -9 the process of the Procfile that runs this program."""
        supervisor = psutil.Process(self.process.pid)
        victim = next(p for p in supervisor.children() if program in " ".join(p.cmdline()))
        victim.kill()

    def stop(self) -> int:
        """Ctrl-C, and the exit status. All processes hear of it and end by themselves."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            for process in [self.process, *filter(psutil.Process.is_running, children)]:
                process.kill()
            self.process.wait(timeout=TIMEOUT_SECONDS)
            pytest.fail("the site did not stop after SIGINT:\n" + "".join(self.said))
        self.reader.join(TIMEOUT_SECONDS)
        assert not [line for line in self.said if "it is killed" in line]
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.said.append(line)
                self.lines.put(line)
        self.lines.put(None)


class DemoSite:
    """A site full of devices (see `seed`), and who is signed in there."""

    def __init__(self, site: Site, devices: dict[str, str], state: Any) -> None:
        self.url, self.devices, self.state = site.url, devices, state
        self.live_url = f"http://localhost:{site.live_port}"

    def device(self, name: str, path: str = "") -> str:
        """The address of a device's page, or of one below it."""
        return f"{self.url}/devices/{self.devices[name]}{path}"


@contextmanager
def open_demo_site() -> Iterator[DemoSite]:
    """A new one, closed at the end."""
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        with Site(Path(folder) / "data") as running:
            running.wait_for(r"Telemetry runs at")
            environment = process_environment() | {
                "DATA_DIR": str(running.data_dir),
                "DATABASE_URL": "",
                "PORT": str(running.port),
            }
            seed = [sys.executable, "-m", "tests.e2e.seed"]
            told = subprocess.run(
                seed, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE
            )
            made = json.loads(told.stdout)
            cookies = [{**made["cookie"], "url": running.url}]
            yield DemoSite(running, made["devices"], cookies)


def process_environment(*, measured: bool = False) -> dict[str, str]:
    """The environment for a process of its own."""
    return {name: value for name, value in os.environ.items() if measured or name not in UNMEASURED}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
