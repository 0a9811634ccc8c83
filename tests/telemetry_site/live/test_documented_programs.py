"""The programs in docs/connect.md work as they are printed there."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer as Site

from commands import services as command_services
from commands.models import Command
from devices.models import Device
from telemetry.models import Telemetry
from tests.factories import device_token
from tests.telemetry_site.live.conftest import TIMEOUT_SECONDS, LiveServer, wait_until

DOCUMENT = Path(django_settings.BASE_DIR) / "docs" / "connect.md"


def block(holding: str) -> str:
    """Return the indented block of the document that contains these words."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?=\n* {4}))+", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    (found,) = (one for one in blocks if holding in one)
    return re.sub(r"^ {4}", "", found, flags=re.MULTILINE).strip("\n")


def create_command(device: Device) -> Command:
    return command_services.create_command(
        device, command_name="measure", payload={}, issued_by=device.user, now=timezone.now()
    )


@contextmanager
def run_program(program: str, site: Site, device: Device) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"SITE": site.url, "TOKEN": device_token(device), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
        yield process
        process.kill()


def is_executed(command: Command) -> bool:
    command.refresh_from_db()
    return command.status == Command.Status.EXECUTED


@pytest.mark.django_db(transaction=True)
def test_the_raw_http_request_of_the_document_stores_a_reading(
    device: Device, live_server: Site
) -> None:
    request = block("POST /api/v1").replace("\n", "\r\n")
    request = request.replace("tsd_…", device_token(device)).replace(
        "site.example", "localhost\r\nConnection: close"
    )
    address = urlsplit(live_server.url)
    with socket.create_connection((address.hostname, address.port), TIMEOUT_SECONDS) as line:
        line.sendall(request.encode())
        answer = line.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 201 "), answer
    assert Telemetry.objects.get(device=device).payload == {"temperature": 21.4}


@pytest.mark.django_db(transaction=True)
def test_the_program_without_a_library_sends_readings_and_executes_commands(
    device: Device, live_server: Site
) -> None:
    command = create_command(device)
    with run_program(block("import urllib"), live_server, device) as process:
        assert process.wait(TIMEOUT_SECONDS) == 0
    assert Telemetry.objects.get(device=device).payload == {"temperature": 21.4}
    assert is_executed(command)


def test_the_program_with_a_library_executes_commands_immediately(
    device: Device, live: LiveServer, live_server: Site, settings: Any
) -> None:
    settings.LIVE_URL = f"http://127.0.0.1:{live.port}"
    with run_program(block("import requests"), live_server, device):
        wait_until(lambda: live.live.polls)
        command = create_command(device)
        wait_until(lambda: is_executed(command))
    assert Telemetry.objects.filter(device=device).exists()
