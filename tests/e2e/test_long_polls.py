"""Devices that long-poll while the live process and PostgreSQL are killed."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.e2e.sites import ROOT, TIMEOUT_SECONDS, Site, process_environment

DEVICES = 4
MAKE = f"""
from django.utils import timezone
from accounts.tokens import services as tokens
from accounts.models import User
from devices import services as device_services
user = User.objects.create_user("fleet", "fleet@example.org")
made = [device_services.create_device(user, name=f"waiter {{n}}") for n in range({DEVICES})]
print(tokens.issue(user, scope=tokens.Scope.AUTH, now=timezone.now())[1].text)
for device, secret in made:
    print(device.pk, secret.text)
"""


class PollingDevice(threading.Thread):
    """A device that polls, retries after every error, and reports every command as executed."""

    def __init__(self, site: Site, token: str) -> None:
        super().__init__(daemon=True)
        self.site, self.token, self.over = site, token, threading.Event()
        self.polls, self.failures = 0, 0
        self.got: list[str] = []
        self.start()

    def run(self) -> None:
        live = call(f"{self.site.url}/api/v1/device", self.token)["live_url"]
        while not self.over.is_set():
            try:
                self.polls += 1
                answer = call(f"{live}/api/v1/device/commands?wait=30", self.token)
                for command in answer.get("results", []):
                    self.finish(command["id"])
                    self.got.append(command["command_name"])
            except (OSError, HTTPException):
                self.failures += 1
                self.over.wait(0.05)

    def finish(self, command: str) -> None:
        path = f"{self.site.url}/api/v1/device/commands/{command}"
        call(path, self.token, {"status": "executed"}, method="PATCH")


def call(url: str, token: str, body: Any = None, *, method: str = "") -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = Request(url, data, headers, method=method or ("POST" if data else "GET"))  # noqa: S310
    with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        text = answer.read()
    return dict(json.loads(text)) if text else {}


def wait_until(what: Any, expected: str) -> None:
    """Wait until the condition is true; `expected` says what it waits for."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not what():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS} s: {expected}"
        time.sleep(0.02)


@pytest.fixture
def fleet(site: Site) -> Iterator[tuple[str, dict[str, PollingDevice]]]:
    """Return a user's token, and the polling devices by id."""
    site.wait_for("Telemetry runs at")
    made = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", MAKE],
        cwd=ROOT,
        env=process_environment() | {"DATA_DIR": str(site.data_dir), "DATABASE_URL": ""},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    waiters = {line.split()[0]: PollingDevice(site, line.split()[1]) for line in made[1:]}
    yield made[0], waiters
    for waiter in waiters.values():
        waiter.over.set()
    site.stop()
    for waiter in waiters.values():
        waiter.join(TIMEOUT_SECONDS)
        assert not waiter.is_alive()


def issue(site: Site, token: str, device: str, name: str) -> None:
    """Send a command; retry until the site has stored it."""

    def stored() -> bool:
        with suppress(HTTPError):
            call(f"{site.url}/api/v1/devices/{device}/commands", token, {"command_name": name})
            return True
        return False

    wait_until(stored, "the command is stored")


def test_when_the_live_process_and_postgresql_are_killed_no_command_and_no_poll_is_lost(
    site: Site, fleet: tuple[str, dict[str, PollingDevice]]
) -> None:
    token, waiters = fleet
    for device, waiter in waiters.items():
        issue(site, token, device, "before")
        wait_until(
            lambda waiter=waiter: waiter.got == ["before"],
            "the command of before the kill is received",
        )

    site.kill("telemetry_site.live")
    for device in waiters:
        issue(site, token, device, "while-it-is-away")
    for waiter in waiters.values():
        wait_until(
            lambda waiter=waiter: waiter.got[1:] == ["while-it-is-away"],
            "the command of while the process is down is received",
        )
        assert waiter.failures

    postmaster = int((site.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    psutil.Process(postmaster).kill()
    for device in waiters:
        issue(site, token, device, "after-the-crash")
    for waiter in waiters.values():
        wait_until(
            lambda waiter=waiter: waiter.got[2:] == ["after-the-crash"],
            "the command of after the crash is received",
        )

    for device in waiters:
        commands = call(f"{site.url}/api/v1/devices/{device}/commands", token)["results"]
        assert [command["status"] for command in commands] == ["executed"] * 3
