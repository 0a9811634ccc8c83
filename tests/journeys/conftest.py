"""The real thing: `manage.py run` in a folder of its own, and a Chromium in front of it."""

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
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import browser

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30
"""Seconds; long enough for a busy machine, and only a failure ever waits for it."""


class Site:
    """A running site, and what it prints."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.port = free_port()
        self.data_dir = data_dir
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "run"],
            cwd=ROOT,
            env=os.environ
            | {"DATA_DIR": str(data_dir), "PORT": str(self.port), "DATABASE_URL": ""}
            | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

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
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.said.append(line)
                self.lines.put(line)
        self.lines.put(None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """For a module and no longer: beside its event loop Django refuses to use the database."""
    path = browser.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("In CI there must be a Chromium.")
        pytest.skip("No Chromium on this machine: `python -m tests.browser` says more.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        yield running
        running.close()


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser with nothing in it yet."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """A tab. Whatever its console complains of is a failure, the CSP above all."""
    complaints: list[str] = []
    tab = window.new_page()
    tab.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    assert complaints == []


@pytest.fixture
def site() -> Iterator[Site]:
    # Not below pytest's own folder: that is closed to the user PostgreSQL runs as under root.
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        running = Site(Path(folder) / "data")
        yield running
        if running.process.poll() is None:
            running.stop()
        print("".join(running.said))  # noqa: T201 - pytest shows it when the test failed


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
