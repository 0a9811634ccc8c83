"""The example for microcontrollers, in MicroPython with a small heap and in CPython."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import TIMEOUT_SECONDS, Site

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "micropython_device.py"
BOARD = Path(__file__).resolve().parent / "board"
MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent))
INTERPRETERS = {
    "CPython": [sys.executable],
    # An ESP32 has 100 to 160 KB for a program; pointers on this machine are twice as long.
    "MicroPython": [str(MICROPYTHON), "-X", "heapsize=160k"],
}
PATHS = {"PYTHONPATH": str(BOARD), "MICROPYPATH": f"{BOARD}:.frozen"}


def interpreter_command(interpreter: str) -> list[str]:
    if interpreter == "MicroPython" and MICROPYTHON is None:
        pytest.skip("There is no MicroPython for this machine.")
    return INTERPRETERS[interpreter]


class Board:
    """A process that runs the program, with a folder as the flash of the board."""

    def __init__(self, command: list[str], site: Site, flash: Path) -> None:
        self.command, self.flash = [*command, str(PROGRAM)], flash
        config = {"url": site.url, "token": "tsd_x", "wifi": ["home", "secret"], "interval": 2}
        (flash / "device.json").write_text(json.dumps(config))
        self.power_on()

    def power_on(self) -> None:
        self.log_file = (self.flash / "log_file").open("ab")
        self.process = subprocess.Popen(
            self.command,
            cwd=self.flash,
            env=os.environ | PATHS | {"PYTHONUNBUFFERED": "1"},
            stdout=self.log_file,
            stderr=subprocess.STDOUT,
        )

    def power_off(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_SECONDS)
        self.log_file.close()

    def output(self) -> str:
        return (self.flash / "log_file").read_text()

    def until(self, condition: Callable[[], Any], expected: str) -> None:
        """Wait until the condition is true; `expected` says what it waits for."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, f"not {expected}:\n{self.output()}"
            time.sleep(0.02)


@pytest.fixture(params=INTERPRETERS)
def board(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Board]:
    site.live = True
    board = Board(interpreter_command(request.param), site, tmp_path)
    yield board
    board.power_off()


def test_the_board_sends_readings_executes_commands_and_keeps_unsent_readings(
    board: Board, site: Site
) -> None:
    board.until(lambda: site.readings, "a reading is sent")
    assert board.output().startswith("the clock is set")
    assert site.readings[0]["payload"]["rssi_dbm"] == -60
    assert site.requests[0].headers["Authorization"] == "Bearer tsd_x"

    assert site.waiting.wait(TIMEOUT_SECONDS), "the board does not poll for commands"
    led, tea = site.issue_command("led", {"on": True}), site.issue_command("make_tea")
    board.until(lambda: {led, tea} <= site.results.keys(), "both results are sent")
    assert site.results[led] == {"status": "executed", "result": {"on": True}}
    assert site.results[tea]["status"] == "failed"
    assert "pin 2 True" in board.output()

    site.stop()
    board.until(lambda: board.output().count("kept in the flash") >= 2, "two readings are kept")
    board.power_off()
    kept = [
        json.loads(line) for line in (board.flash / "spool.new").read_bytes().splitlines() if line
    ]
    with (board.flash / "spool.new").open("ab") as spool:
        spool.write(b'\n{"telemetry_type": "torn')
    site.start()
    board.power_on()
    board.until(lambda: all(reading in site.readings for reading in kept), "kept readings are sent")
    board.until(lambda: not list(board.flash.glob("spool.*")), "the spool is removed")
    assert len(kept) >= 2


def test_a_rejected_token_ends_the_program(board: Board, site: Site) -> None:
    site.answers["POST"] = (401, {}, b"{}")
    assert board.process.wait(TIMEOUT_SECONDS) == 0
    assert "the site refused the token" in board.output()


def test_readings_rejected_with_507_are_kept_and_sent_later(board: Board, site: Site) -> None:
    site.answers["POST"] = (507, {"Retry-After": "60"}, b'{"status": 507}')
    board.until(lambda: board.output().count("kept in the flash") >= 2, "two readings are kept")
    kept = [
        json.loads(line) for line in (board.flash / "spool.new").read_bytes().splitlines() if line
    ]
    assert len(kept) >= 2
    del site.answers["POST"]
    board.until(lambda: all(reading in site.readings for reading in kept), "kept readings are sent")


def test_a_reading_rejected_with_422_is_dropped(board: Board, site: Site) -> None:
    site.answers["POST"] = (422, {}, b'{"status": 422, "errors": []}')
    board.until(lambda: board.output().count("refused for good") >= 2, "two readings are rejected")
    assert not list(board.flash.glob("spool.*"))


SPOOL_PROGRAM = f"""
import sys
sys.path[:0] = [{str(PROGRAM.parent)!r}, {str(BOARD)!r}]
from micropython_device import Spool
spool = Spool("spool", 100)
for number in range(50):
    spool.append(b'{{"n": %d}}' % number)
print(spool.size("spool.old") + spool.size("spool.new"))
while True:
    lines, end = spool.batch()
    for line in lines:
        print(line.decode())
    if not end:
        break
    spool.done(end)
"""


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_the_spool_keeps_the_newest_readings_in_two_files_of_limited_size(
    interpreter: str, tmp_path: Path
) -> None:
    command = interpreter_command(interpreter)
    size, *lines = subprocess.run(
        [*command, "-c", SPOOL_PROGRAM],
        cwd=tmp_path,
        env=os.environ | PATHS,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert int(size) <= 200
    numbers = [json.loads(line)["n"] for line in lines]
    assert numbers == list(range(numbers[0], 50))
    assert len(numbers) > 8
    assert not list(tmp_path.iterdir())
