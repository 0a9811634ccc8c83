"""What people paste to make a device speak: every line of it is run here, or compiled."""

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
def pasted(sender: Device, live_server: LiveServer, settings: Any) -> dict[str, str]:
    """By language, what the page shows to the owner of a device."""
    settings.PUBLIC_URL = live_server.url
    _token, secret = device_services.issue_token(sender)
    return {snippet.name: snippet.text for snippet in snippets.render_snippets(sender, secret.text)}


def arrived(device: Device) -> list[dict[str, Any]]:
    return [reading.payload for reading in Telemetry.objects.filter(device=device)]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl_sends_a_reading(pasted: dict[str, str], sender: Device) -> None:
    told = subprocess.run(pasted["curl"], shell=True, check=True, stdout=subprocess.PIPE)  # noqa: S602
    assert json.loads(told.stdout)["payload"] == {"temperature": 21.4}
    assert arrived(sender) == [{"temperature": 21.4}]


def test_python_sends_a_reading(pasted: dict[str, str], sender: Device) -> None:
    program = [sys.executable, "-c", pasted["python"]]
    told = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
    assert "'temperature': 21.4" in told.stdout
    assert arrived(sender) == [{"temperature": 21.4}]


class Stopped(Exception):
    """The power was cut."""


def test_micropython_sends_one_reading_after_the_other(
    pasted: dict[str, str], sender: Device, monkeypatch: pytest.MonkeyPatch
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
        exec(compile(pasted["micropython"], "main.py", "exec"), {})  # noqa: S102
    assert slept == [1, 60, 60]
    assert arrived(sender) == [{"temperature": 21.4}] * 2


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_arduino_compiles(pasted: dict[str, str]) -> None:
    check = ["g++", "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", "-x", "c++"]
    check += ["-I", str(ESP32), "-include", "Arduino.h", "-"]
    told = subprocess.run(
        check, input=pasted["arduino"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert told.stderr == ""
    assert told.returncode == 0


def test_every_language_names_the_site_and_the_token(pasted: dict[str, str], settings: Any) -> None:
    assert set(pasted) == set(snippets.LANGUAGES)
    for text in pasted.values():
        assert settings.PUBLIC_URL in text
        assert "tsd_" in text
        assert "&" not in text


def test_a_qr_code_is_a_drawing_without_a_style_of_its_own() -> None:
    drawn = snippets.token_qr_svg("tsd_" + "a" * 49)
    assert drawn.startswith("<svg ")
    assert "style" not in drawn
    assert "<script" not in drawn


def _network() -> ModuleType:
    """A network that is there on the second look."""
    looks: list[bool] = []

    class WLAN:
        def __init__(self, interface: int) -> None:
            assert interface == 0

        def active(self, on: bool) -> None:
            assert on

        def connect(self, name: str, password: str) -> None:
            assert name
            assert password

        def isconnected(self) -> bool:
            looks.append(True)
            return len(looks) > 1

    board = ModuleType("network")
    board.WLAN, board.STA_IF = WLAN, 0  # type: ignore[attr-defined]
    return board


def _requests() -> ModuleType:
    """`requests` of MicroPython, as far as it goes."""

    class Answer:
        def __init__(self, status_code: int, text: str) -> None:
            self.status_code, self.text = status_code, text

        def close(self) -> None:
            pass

    def post(address: str, json: Any, headers: dict[str, str]) -> Answer:
        body = __import__("json").dumps(json).encode()
        sent = {**headers, "Content-Type": "application/json"}
        with urlopen(Request(address, body, sent)) as answer:  # noqa: S310
            return Answer(answer.status, answer.read().decode())

    board = ModuleType("requests")
    board.post = post  # type: ignore[attr-defined]
    return board
