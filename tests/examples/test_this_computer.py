"""The example device against a small real HTTP server that speaks just enough of the API."""

import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.examples.conftest import Site

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "this_computer.py"
TOKEN = "tdt_a-token-of-this-device"

spec = importlib.util.spec_from_file_location("this_computer", PROGRAM)
assert spec is not None
assert spec.loader is not None
this_computer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this_computer)


@pytest.fixture
def spool_file(tmp_path: Path) -> Path:
    return tmp_path / "this_computer.spool"


@pytest.fixture
def start(site: Site, spool_file: Path) -> Callable[[], Any]:
    """Starts the device; again, as after a crash: all that it remembers is the spool file."""
    return lambda: this_computer.Device(site.url, TOKEN, this_computer.Spool(spool_file))


@pytest.fixture
def device(start: Callable[[], Any]) -> Any:
    return start()


def reading(number: int, telemetry_type: str = "load") -> dict[str, Any]:
    at = f"2026-03-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    return {"telemetry_type": telemetry_type, "payload": {"one": number}, "recorded_at": at}


def kept(spool_file: Path) -> list[Any]:
    return [json.loads(line) for line in spool_file.read_bytes().split()]


class Crash(BaseException):
    """The power is gone."""


class TestWaiting:
    def test_a_command_is_done_between_two_samples(self, device: Any, site: Site) -> None:
        site.live = True
        listening = threading.Thread(target=device.listen, args=(60,))
        listening.start()
        assert site.waiting.wait(10)
        identity = site.order("report_now")
        listening.join(10)
        assert not listening.is_alive()
        assert site.results[identity]["status"] == "executed"
        assert site.readings  # what it has measured for the command

    def test_a_wait_without_a_command_takes_its_time(self, device: Any, site: Site) -> None:
        site.live = True
        assert device.listen(1.0)
        assert device.live_url == site.url

    @pytest.mark.parametrize("answer", [(204, {}, b""), (503, {}, b""), (200, {}, b"<html>")])
    def test_where_nobody_waits_it_is_not_asked_again_for_a_while(
        self, device: Any, site: Site, answer: tuple[int, dict[str, str], bytes]
    ) -> None:
        device.live_url = site.url
        site.answers["GET"] = answer
        assert not device.listen(60)
        assert not device.listen(60)
        assert len(site.requests) == 1

    def test_without_a_place_to_wait_there_is_one_question_about_it(
        self, device: Any, site: Site
    ) -> None:
        assert not device.listen(60)
        assert not device.listen(60)
        assert [request.path for request in site.requests] == ["/api/v1/device"]

    def test_nothing_is_asked_while_the_site_is_away_or_the_next_sample_is_near(
        self, device: Any, site: Site
    ) -> None:
        assert not device.listen(0.9)
        device.away = True
        assert not device.listen(60)
        assert site.requests == []


class TestReadings:
    def test_reach_the_site_as_the_api_wants_them(self, device: Any, site: Site) -> None:
        device.meter.counted_at -= 10  # so that there is a rate
        count = device.sample()
        device.talk()

        (request,) = site.requests
        assert (request.method, request.path) == ("POST", "/api/v1/device/telemetry")
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.headers["Content-Type"] == "application/json"
        assert list(request.json) == ["readings"]
        assert len(request.json["readings"]) == count
        by_type = {sent["telemetry_type"]: sent["payload"] for sent in request.json["readings"]}
        assert {"cpu", "memory", "disk", "network", "load"} <= by_type.keys()
        assert by_type["load"].keys() == {"one", "five", "fifteen"}
        assert {"used_percent", "used_mb", "available_mb"} <= by_type["memory"].keys()
        assert by_type["network"].keys() == {"sent_kb_s", "received_kb_s"}
        assert 0 <= by_type["cpu"]["percent"] <= 100
        for payload in by_type.values():
            assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key) for key in payload)
            assert all(type(n) in (int, float) and math.isfinite(n) for n in payload.values())

    def test_of_one_sample_share_their_instant(self, device: Any, site: Site) -> None:
        device.sample()
        device.talk()
        (instant,) = {sent["recorded_at"] for sent in site.readings}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", instant)

    def test_have_no_rates_before_there_are_two_counts(self, device: Any) -> None:
        first = device.meter.measure()
        assert "network" not in first
        assert "percent" not in first.get("cpu", {})
        assert first["disk"].keys() == {"used_percent", "free_gb"}

    def test_keep_their_rates_when_taken_again_at_once(self, device: Any) -> None:
        device.meter.counted_at -= 10
        first, second = device.meter.measure(), device.meter.measure()
        assert second["network"] == first["network"]
        assert second["cpu"]["percent"] == first["cpu"]["percent"]

    def test_have_no_rate_for_a_count_that_went_backwards(self, device: Any) -> None:
        device.meter.counted_at -= 10
        device.meter.counts["sent_kb_s"] = 1e15
        assert device.meter.measure()["network"].keys() == {"received_kb_s"}

    def test_have_a_valid_key_for_every_sensor(
        self, device: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sensors = [
            SimpleNamespace(label=label, current=41.5)
            for label in ("Core 0", "Core 0", "", "Säule / außen °C", "x" * 200)
        ]
        monkeypatch.setattr(
            this_computer.psutil, "sensors_temperatures", lambda: {"a chip": sensors}, raising=False
        )
        temperature = device.meter.measure()["temperature"]
        assert len(temperature) == 5
        assert "a_chip_0_Core_0" in temperature
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key) for key in temperature)

    def test_do_without_a_sensor_that_fails(
        self, device: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise OSError("no such device")

        for sensor in ("cpu_freq", "swap_memory", "disk_io_counters", "sensors_temperatures"):
            monkeypatch.setattr(this_computer.psutil, sensor, fail, raising=False)
        device.meter.counted_at -= 10
        payloads = device.meter.measure()
        assert payloads["cpu"].keys() == {"percent"}
        assert payloads["memory"].keys() == {"used_percent", "used_mb", "available_mb"}
        assert payloads["disk"].keys() == {"used_percent", "free_gb"}
        assert "temperature" not in payloads

    def test_leave_the_spool_once_taken(self, device: Any, spool_file: Path) -> None:
        count = device.sample()
        assert len(kept(spool_file)) == count
        device.talk()
        assert kept(spool_file) == []

    def test_go_below_a_path_of_the_site(self, site: Site, spool_file: Path) -> None:
        spool = this_computer.Spool(spool_file)
        spool.append([reading(1)])
        this_computer.Device(f"{site.url}/telemetry/", TOKEN, spool).talk()
        assert site.requests[0].path == "/telemetry/api/v1/device/telemetry"


class TestWhileTheSiteIsDown:
    def test_readings_are_kept_and_sent_later_in_order(
        self, start: Callable[[], Any], site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        device = start()
        site.stop()
        written = [reading(number) for number in range(1201)]
        for number in range(0, 1201, 100):
            device.spool.append(written[number : number + 100])
            device.talk()
        site.start()
        device.talk()

        assert site.readings == written
        assert [len(request.json["readings"]) for request in site.requests] == [500, 500, 201]
        away, back = capsys.readouterr().out.splitlines()
        assert away.startswith("the site is away")
        assert back == "the site is back: 1201 readings sent"

    def test_readings_outlive_a_restart(
        self, start: Callable[[], Any], site: Site, spool_file: Path
    ) -> None:
        site.stop()
        first = start()
        first.sample()
        first.talk()
        written = kept(spool_file)
        site.start()
        start().talk()
        assert site.readings == written

    @pytest.mark.parametrize(
        ("status", "headers", "body"),
        [
            (500, {}, b"<h1>Server Error</h1>"),
            (503, {}, b"{}"),
            (404, {}, b"{}"),
            (200, {}, b"<h1>Please log in to this network</h1>"),
            (201, {}, b"<h1>Please log in to this network</h1>"),
            (201, {}, b"17"),
        ],
    )
    def test_no_other_answer_loses_a_reading(
        self, device: Any, site: Site, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        device.spool.append([reading(1)])
        site.answers["POST"] = (status, headers, body)
        device.talk()
        assert site.readings == []
        site.answers.clear()
        device.talk()
        assert site.readings == [reading(1)]

    def test_the_token_follows_no_redirect(self, device: Any, site: Site) -> None:
        device.spool.append([reading(1)])
        site.answers["POST"] = (308, {"Location": f"{site.url}/elsewhere"}, b"")
        device.talk()
        assert [request.path for request in site.requests] == ["/api/v1/device/telemetry"]

    def test_it_waits_as_long_as_it_was_told(self, device: Any, site: Site) -> None:
        device.spool.append([reading(1)])
        site.answers["POST"] = (429, {"Retry-After": "600"}, b"{}")
        device.talk()
        site.answers.clear()
        device.talk()
        assert len(site.requests) == 1
        device.retry_at -= 600
        device.talk()
        assert site.readings == [reading(1)]

    def test_what_was_taken_before_it_went_away_is_not_sent_again(
        self,
        device: Any,
        site: Site,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        written = [reading(number) for number in range(501)]
        device.spool.append(written)
        take = site.take

        def take_one_batch(readings: list[dict[str, Any]]) -> tuple[int, Any]:
            return take(readings) if not site.readings else (503, {})

        monkeypatch.setattr(site, "take", take_one_batch)
        device.talk()
        monkeypatch.undo()
        device.talk()
        assert [len(request.json["readings"]) for request in site.requests] == [500, 1, 1]
        assert site.readings == written
        assert capsys.readouterr().out.endswith("the site is back: 1 readings sent\n")

    def test_a_backlog_does_not_hold_up_the_next_sample(self, device: Any, site: Site) -> None:
        written = [reading(number) for number in range(501)]
        device.spool.append(written)
        device.talk(deadline=0.0)  # due already
        assert site.readings == written[:500]
        device.talk(deadline=0.0)
        assert site.readings == written


class TestSpool:
    def test_a_crash_between_answer_and_removal_sends_the_same_bytes_again(
        self,
        start: Callable[[], Any],
        site: Site,
        spool_file: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def crash(count: int) -> None:
            raise Crash

        device = start()
        device.sample()
        monkeypatch.setattr(device.spool, "remove", crash)
        with pytest.raises(Crash):
            device.talk()
        taken = list(site.readings)
        start().talk()

        first, second = site.requests
        assert second.body == first.body
        assert site.readings == taken
        assert kept(spool_file) == []

    def test_a_crash_while_it_is_replaced_loses_nothing(
        self, start: Callable[[], Any], site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(self: Path, target: Path) -> None:
            raise Crash

        device = start()
        device.spool.append([reading(1), reading(2)])
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", crash)
            with pytest.raises(Crash):
                device.spool.remove(1)
        start().talk()
        assert site.readings == [reading(1), reading(2)]

    @pytest.mark.parametrize("torn", [b'{"telemetry_type":"lo', b"\0\0\0\0", b"17", b"\xff\xfe"])
    def test_a_torn_last_line_is_skipped(
        self, start: Callable[[], Any], site: Site, spool_file: Path, torn: bytes
    ) -> None:
        start().spool.append([reading(1)])
        with spool_file.open("ab") as file:
            file.write(torn)
        start().spool.append([reading(2)])
        start().talk()
        assert site.readings == [reading(1), reading(2)]

    def test_a_last_line_without_its_line_break_is_whole(
        self, start: Callable[[], Any], site: Site, spool_file: Path
    ) -> None:
        start().spool.append([reading(1)])
        spool_file.write_bytes(spool_file.read_bytes().rstrip())
        start().spool.append([reading(2)])
        start().talk()
        assert site.readings == [reading(1), reading(2)]

    def test_when_full_it_gives_up_the_oldest(
        self, spool_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spool = this_computer.Spool(spool_file, limit=100)
        for number in range(101):
            spool.append([reading(number)])
        assert kept(spool_file) == [reading(number) for number in range(11, 101)]
        assert [json.loads(line) for line in spool.lines] == kept(spool_file)
        assert capsys.readouterr().out == "the spool is full: its oldest 11 readings are lost\n"

    def test_a_disk_that_cannot_be_written_does_not_silence_the_device(
        self, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spool = this_computer.Spool(tmp_path / "no such folder" / "spool")
        spool.append([reading(1)])
        this_computer.Device(site.url, TOKEN, spool).talk()
        assert site.readings == [reading(1)]
        assert spool.lines == []
        assert "the spool cannot be written" in capsys.readouterr().out

    def test_a_batch_that_is_refused_whole_is_dropped(
        self,
        device: Any,
        site: Site,
        spool_file: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        device.spool.append([reading(number, "poison") for number in range(500)])
        device.spool.append([reading(500)])
        device.talk()
        assert site.readings == [reading(500)]
        assert kept(spool_file) == []
        assert "refused 500 of 500 readings" in capsys.readouterr().out

    def test_single_readings_that_are_refused_are_dropped(
        self,
        device: Any,
        site: Site,
        spool_file: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        device.spool.append([reading(1), reading(2, "poison"), reading(3)])
        device.talk()
        assert site.readings == [reading(1), reading(3)]
        assert kept(spool_file) == []
        assert "refused 1 of 3 readings" in capsys.readouterr().out


class TestCommands:
    @pytest.fixture(autouse=True)
    def something_to_send(self, device: Any) -> None:
        device.spool.append([reading(1)])

    def test_are_not_asked_for_when_none_wait(self, device: Any, site: Site) -> None:
        device.talk()
        assert site.asked_for("GET") == []

    def test_ping(self, device: Any, site: Site) -> None:
        command = site.order("ping")
        device.talk()
        answer = site.results[command]
        assert answer["status"] == "executed"
        assert answer["result"]["pong"] is True
        assert answer["result"]["uptime_s"] > 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", answer["executed_at"])
        assert all(
            request.headers["Authorization"] == f"Bearer {TOKEN}" for request in site.requests
        )

    @pytest.mark.parametrize("seconds", [1, 2.5, 3600])
    def test_set_interval(self, device: Any, site: Site, seconds: float) -> None:
        command = site.order("set_interval", {"seconds": seconds})
        device.talk()
        assert site.results[command]["status"] == "executed"
        assert site.results[command]["result"] == {"seconds": seconds}
        assert device.interval == seconds

    def test_set_interval_holds_for_the_wait_that_is_on(
        self, device: Any, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sleep(seconds: float) -> None:
            waits.append(seconds)
            raise Crash

        waits: list[float] = []
        site.order("set_interval", {"seconds": 3600})
        monkeypatch.setattr(this_computer.time, "sleep", sleep)
        with pytest.raises(Crash):
            device.run()
        assert 5 < waits[0] <= 3600

    @pytest.mark.parametrize(
        "payload",
        [
            {},
            [],
            "5",
            {"seconds": "5"},
            {"seconds": True},
            {"seconds": None},
            {"seconds": 0},
            {"seconds": 0.99},
            {"seconds": 3601},
            {"seconds": math.nan},
            {"seconds": math.inf},
            {"seconds": [5]},
        ],
    )
    def test_set_interval_refuses_what_is_no_interval(
        self, device: Any, site: Site, payload: Any
    ) -> None:
        command = site.order("set_interval", payload)
        device.talk()
        assert site.results[command] == {
            "status": "failed",
            "reason": "rejected",
            "result": {"error": "seconds must be a number from 1 to 3600"},
        }
        assert device.interval == 5

    def test_report_now_measures_and_sends_at_once(self, device: Any, site: Site) -> None:
        command = site.order("report_now")
        device.talk()
        count = site.results[command]["result"]["readings"]
        assert count > 0
        assert len(site.readings) == 1 + count
        assert device.spool.lines == []

    def test_unknown_ones_are_refused(self, device: Any, site: Site) -> None:
        command = site.order("self_destruct")
        device.talk()
        assert site.results[command]["status"] == "failed"
        assert site.results[command]["result"]["error"] == (
            "unknown command self_destruct; this device knows ping, set_interval, report_now"
        )

    def test_are_carried_out_in_order_and_said_so(
        self, device: Any, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for seconds in (10, 20, 30):
            site.order("set_interval", {"seconds": seconds})
        device.talk()
        assert list(site.results) == ["command-0", "command-1", "command-2"]
        assert device.interval == 30
        assert len(capsys.readouterr().out.splitlines()) == 3

    def test_a_result_that_is_not_wanted_does_not_block_the_next(
        self, device: Any, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finished, waiting = site.order("ping"), site.order("report_now")
        site.results[finished] = {"status": "executed"}
        device.talk()
        assert site.results[waiting]["status"] == "executed"
        assert "result not taken, already finished" in capsys.readouterr().out

    def test_a_result_that_is_lost_is_given_when_the_command_comes_again(
        self, device: Any, site: Site
    ) -> None:
        command = site.order("ping")
        handed_out = list(site.commands)
        site.answers["PATCH"] = (503, {}, b"")
        device.talk()
        assert site.results == {}
        site.answers.clear()
        site.commands = handed_out  # the lease has ended
        device.spool.append([reading(2)])
        device.talk()
        assert site.results[command]["status"] == "executed"


class TestProgram:
    @pytest.fixture
    def launch(self, site: Site, tmp_path: Path) -> Iterator[Callable[..., Any]]:
        started: list[subprocess.Popen[str]] = []

        def launch(*options: str, **environment: str) -> subprocess.Popen[str]:
            ours = ("DEVICE_TOKEN", "DEVICE_TOKEN_FILE", "TELEMETRY_URL", "SPOOL_FILE")
            inherited = {name: value for name, value in os.environ.items() if name not in ours}
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *options],
                env={**inherited, "TELEMETRY_URL": site.url, **environment},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started.append(process)
            return process

        yield launch
        for process in started:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"DEVICE_TOKEN": " "},
            {"DEVICE_TOKEN_FILE": "missing"},
            {"DEVICE_TOKEN_FILE": "."},
            {"DEVICE_TOKEN": "a token\nof two lines"},
        ],
    )
    def test_without_a_token_says_so_and_asks_not_to_be_started_again(
        self, launch: Callable[..., Any], site: Site, environment: dict[str, str]
    ) -> None:
        process = launch(**environment)
        out, _ = process.communicate(timeout=10)
        assert out.startswith("not started: no token in DEVICE_TOKEN")
        assert len(out.splitlines()) == 1
        assert process.returncode == os.EX_CONFIG
        assert site.requests == []

    def test_with_a_refused_token_says_so_and_asks_not_to_be_started_again(
        self, launch: Callable[..., Any], site: Site, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        site.answers["POST"] = (401, {"WWW-Authenticate": "Bearer"}, b"{}")
        process = launch(DEVICE_TOKEN_FILE="token")
        out, _ = process.communicate(timeout=10)
        assert "the site refused the token" in out
        assert TOKEN not in out
        assert process.returncode == os.EX_CONFIG
        (request,) = site.requests
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert kept(tmp_path / "this_computer.spool") == request.json["readings"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("answering", [True, False])
    def test_ends_well_when_told_to_even_amid_a_request(
        self, launch: Callable[..., Any], site: Site, number: signal.Signals, answering: bool
    ) -> None:
        if not answering:
            site.may_answer.clear()
        process = launch(DEVICE_TOKEN=TOKEN)
        assert site.asked.wait(10)
        process.send_signal(number)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 0
        assert out == f"reporting this computer to {site.url} every 5 s\n"

    @pytest.mark.parametrize(
        "options", [("--interval", "0"), ("--interval", "nan"), ("--url", "localhost:8000")]
    )
    def test_refuses_options_that_make_no_sense(
        self, launch: Callable[..., Any], options: tuple[str, ...]
    ) -> None:
        process = launch(*options, DEVICE_TOKEN=TOKEN)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 2
        assert "Traceback" not in out
