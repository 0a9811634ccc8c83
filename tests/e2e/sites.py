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
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30
"""Seconds; long enough for a busy machine, and only a failure ever waits for it."""


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
            env=surroundings(measured=measured)
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

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that matches."""
        while True:
            line = self.lines.get(timeout=PATIENCE)
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
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=PATIENCE)
        self.reader.join(PATIENCE)
        assert not [line for line in self.said if "it is killed" in line]
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.said.append(line)
                self.lines.put(line)
        self.lines.put(None)


class House:
    """A site full of devices (see `seed`), and who is signed in there."""

    def __init__(self, site: Site, devices: dict[str, str], state: Any) -> None:
        self.url, self.devices, self.state = site.url, devices, state
        self.live_url = f"http://localhost:{site.live_port}"

    def device(self, name: str, path: str = "") -> str:
        """The address of a device's page, or of one below it."""
        return f"{self.url}/devices/{self.devices[name]}{path}"


@contextmanager
def opened_house() -> Iterator[House]:
    """A new one, closed at the end."""
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        running = Site(Path(folder) / "data")
        running.wait_for(r"Telemetry runs at")
        environment = surroundings() | {
            "DATA_DIR": str(running.data_dir),
            "DATABASE_URL": "",
            "PORT": str(running.port),
        }
        seed = [sys.executable, "-m", "tests.e2e.seed"]
        told = subprocess.run(seed, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
        made = json.loads(told.stdout)
        cookies = [{**made["cookie"], "url": running.url}]
        yield House(running, made["devices"], cookies)
        running.stop()


def surroundings(*, measured: bool = False) -> dict[str, str]:
    """The environment for a process of its own."""
    return {name: value for name, value in os.environ.items() if measured or name not in UNMEASURED}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
