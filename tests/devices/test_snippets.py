"""Code examples of the connect page: each one is run or compiled."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pytest_django.live_server_helper import LiveServer

from devices import services as device_services
from devices import snippets
from devices.models import Device
from telemetry.models import Telemetry
from tests.factories import DeviceFactory, UserFactory

ESP32 = Path(__file__).parent / "esp32"


@pytest.fixture
def sender(transactional_db: None) -> Device:
    return DeviceFactory.create(user=UserFactory.create(username="owner"), name="mast")


@pytest.fixture
def examples(sender: Device, live_server: LiveServer, settings: Any) -> dict[str, str]:
    """The examples of the page, by language."""
    settings.PUBLIC_URL = live_server.url
    _token, secret = device_services.issue_token(sender)
    return {snippet.name: snippet.text for snippet in snippets.render_snippets(sender, secret.text)}


def stored_payloads(device: Device) -> list[dict[str, Any]]:
    return [reading.payload for reading in Telemetry.objects.filter(device=device)]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl_sends_a_reading(examples: dict[str, str], sender: Device) -> None:
    result = subprocess.run(examples["curl"], shell=True, check=True, stdout=subprocess.PIPE)  # noqa: S602
    assert json.loads(result.stdout)["payload"] == {"temperature": 21.4}
    assert stored_payloads(sender) == [{"temperature": 21.4}]


def test_python_sends_a_reading(examples: dict[str, str], sender: Device) -> None:
    program = [sys.executable, "-c", examples["python"]]
    result = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
    assert "'temperature': 21.4" in result.stdout
    assert stored_payloads(sender) == [{"temperature": 21.4}]


class Stopped(Exception):
    """Ends the endless loop of the example."""


def test_micropython_sends_a_reading_every_minute(
    examples: dict[str, str], sender: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[int] = []

    def sleep(seconds: int) -> None:
        slept.append(seconds)
        if slept.count(60) == 2:
            raise Stopped

    for board in (_network(), _requests()):
        monkeypatch.setitem(sys.modules, board.__name__, board)
    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(Stopped):
        exec(compile(examples["micropython"], "main.py", "exec"), {})  # noqa: S102
    assert slept == [1, 60, 60]
    assert stored_payloads(sender) == [{"temperature": 21.4}] * 2


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_arduino_compiles(examples: dict[str, str]) -> None:
    check = ["g++", "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", "-x", "c++"]
    check += ["-I", str(ESP32), "-include", "Arduino.h", "-"]
    result = subprocess.run(
        check, input=examples["arduino"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert result.stderr == ""
    assert result.returncode == 0


def test_every_example_contains_the_url_and_the_token(
    examples: dict[str, str], settings: Any
) -> None:
    assert set(examples) == set(snippets.LANGUAGES)
    for text in examples.values():
        assert settings.PUBLIC_URL in text
        assert "tsd_" in text
        assert "&" not in text


def test_a_qr_code_is_an_svg_without_style_or_script() -> None:
    svg = snippets.token_qr_svg("tsd_" + "a" * 49)
    assert svg.startswith("<svg ")
    assert "style" not in svg
    assert "<script" not in svg


def _network() -> ModuleType:
    """The network module of MicroPython, with a connection at the second check."""
    checks: list[bool] = []

    class WLAN:
        def __init__(self, interface: int) -> None:
            assert interface == 0

        def active(self, on: bool) -> None:
            assert on

        def connect(self, name: str, password: str) -> None:
            assert name
            assert password

        def isconnected(self) -> bool:
            checks.append(True)
            return len(checks) > 1

    board = ModuleType("network")
    board.WLAN, board.STA_IF = WLAN, 0  # type: ignore[attr-defined]
    return board


def _requests() -> ModuleType:
    """The part of the requests module of MicroPython that the example uses."""

    class Answer:
        def __init__(self, status_code: int, text: str) -> None:
            self.status_code, self.text = status_code, text

        def close(self) -> None:
            pass

    def post(url: str, json: Any, headers: dict[str, str]) -> Answer:
        body = __import__("json").dumps(json).encode()
        sent = {**headers, "Content-Type": "application/json"}
        with urlopen(Request(url, body, sent)) as response:  # noqa: S310
            return Answer(response.status, response.read().decode())

    board = ModuleType("requests")
    board.post = post  # type: ignore[attr-defined]
    return board
