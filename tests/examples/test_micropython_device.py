"""The example for microcontrollers, in MicroPython with the memory of one, and in CPython."""

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

from tests.examples.conftest import Site

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "micropython_device.py"
BOARD = Path(__file__).resolve().parent / "board"
MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent))
INTERPRETERS = {
    "CPython": [sys.executable],
    # An ESP32 leaves a program 100 to 160 KB; pointers here are twice as long.
    "MicroPython": [str(MICROPYTHON), "-X", "heapsize=160k"],
}
PATHS = {"PYTHONPATH": str(BOARD), "MICROPYPATH": f"{BOARD}:.frozen"}
PATIENCE = 20


def command_of(interpreter: str) -> list[str]:
    if interpreter == "MicroPython" and MICROPYTHON is None:
        pytest.skip("There is no MicroPython for this machine.")
    return INTERPRETERS[interpreter]


class Board:
    """A board that runs the program, with a folder as its flash."""

    def __init__(self, command: list[str], site: Site, flash: Path) -> None:
        self.command, self.flash = [*command, str(PROGRAM)], flash
        config = {"url": site.url, "token": "tsd_x", "wifi": ["home", "secret"], "interval": 2}
        (flash / "device.json").write_text(json.dumps(config))
        self.power_on()

    def power_on(self) -> None:
        self.output = (self.flash / "output").open("ab")
        self.process = subprocess.Popen(
            self.command,
            cwd=self.flash,
            env=os.environ | PATHS | {"PYTHONUNBUFFERED": "1"},
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def power_off(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        self.output.close()

    def said(self) -> str:
        return (self.flash / "output").read_text()

    def until(self, true: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)


@pytest.fixture(params=INTERPRETERS)
def board(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Board]:
    site.live = True
    board = Board(command_of(request.param), site, tmp_path)
    yield board
    board.power_off()


def test_it_measures_does_what_it_is_told_and_keeps_what_it_cannot_send(
    board: Board, site: Site
) -> None:
    board.until(lambda: site.readings)
    assert board.said().startswith("the clock is set")
    assert site.readings[0]["payload"]["rssi_dbm"] == -60
    assert site.requests[0].headers["Authorization"] == "Bearer tsd_x"

    assert site.waiting.wait(PATIENCE)
    led, tea = site.order("led", {"on": True}), site.order("make_tea")
    board.until(lambda: {led, tea} <= site.results.keys())
    assert site.results[led] == {"status": "executed", "result": {"on": True}}
    assert site.results[tea]["status"] == "failed"
    assert "pin 2 True" in board.said()

    site.stop()
    board.until(lambda: board.said().count("kept in the flash") >= 2)
    board.power_off()
    kept = [
        json.loads(line) for line in (board.flash / "spool.new").read_bytes().splitlines() if line
    ]
    with (board.flash / "spool.new").open("ab") as spool:
        spool.write(b'\n{"telemetry_type": "torn')
    site.start()
    board.power_on()
    board.until(lambda: all(reading in site.readings for reading in kept))
    board.until(lambda: not list(board.flash.glob("spool.*")))
    assert len(kept) >= 2


def test_a_token_that_is_refused_ends_it(board: Board, site: Site) -> None:
    site.answers["POST"] = (401, {}, b"{}")
    assert board.process.wait(PATIENCE) == 0
    assert "the site refused the token" in board.said()


def test_while_the_disk_of_the_site_is_full_readings_are_kept_and_sent_later(
    board: Board, site: Site
) -> None:
    site.answers["POST"] = (507, {"Retry-After": "60"}, b'{"status": 507}')
    board.until(lambda: board.said().count("kept in the flash") >= 2)
    kept = [
        json.loads(line) for line in (board.flash / "spool.new").read_bytes().splitlines() if line
    ]
    assert len(kept) >= 2
    del site.answers["POST"]
    board.until(lambda: all(reading in site.readings for reading in kept))


def test_a_reading_that_is_refused_for_good_blocks_nothing(board: Board, site: Site) -> None:
    site.answers["POST"] = (422, {}, b'{"status": 422, "errors": []}')
    board.until(lambda: board.said().count("refused for good") >= 2)
    assert not list(board.flash.glob("spool.*"))


PROGRAM_OF_THE_SPOOL = f"""
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
def test_the_flash_holds_the_newest_in_two_files_of_bounded_size(
    interpreter: str, tmp_path: Path
) -> None:
    command = command_of(interpreter)
    size, *lines = subprocess.run(
        [*command, "-c", PROGRAM_OF_THE_SPOOL],
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
