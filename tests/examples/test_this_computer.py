"""The example device: its readings, its start and its end."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.examples.computer import PROGRAM, TOKEN, read_spool, reading, this_computer
from tests.examples.conftest import TIMEOUT_SECONDS, Site


class TestReadings:
    def test_readings_are_sent_in_the_format_of_the_api(self, device: Any, site: Site) -> None:
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

    def test_readings_of_one_sample_have_the_same_time(self, device: Any, site: Site) -> None:
        device.sample()
        device.talk()
        (instant,) = {sent["recorded_at"] for sent in site.readings}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", instant)

    def test_the_first_sample_has_no_rates(self, device: Any) -> None:
        first = device.meter.measure()
        assert "network" not in first
        assert "percent" not in first.get("cpu", {})
        assert first["disk"].keys() == {"used_percent", "free_gb"}

    def test_rates_are_kept_for_a_sample_taken_immediately_after(self, device: Any) -> None:
        device.meter.counted_at -= 10
        first, second = device.meter.measure(), device.meter.measure()
        assert second["network"] == first["network"]
        assert second["cpu"]["percent"] == first["cpu"]["percent"]

    def test_a_counter_that_went_backwards_has_no_rate(self, device: Any) -> None:
        device.meter.counted_at -= 10
        device.meter.counts["sent_kb_s"] = 1e15
        assert device.meter.measure()["network"].keys() == {"received_kb_s"}

    def test_every_sensor_has_a_valid_key(
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

    def test_a_failing_sensor_is_left_out(
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

    def test_accepted_readings_are_removed_from_the_spool(
        self, device: Any, spool_file: Path
    ) -> None:
        count = device.sample()
        assert len(read_spool(spool_file)) == count
        device.talk()
        assert read_spool(spool_file) == []

    def test_the_api_path_is_appended_to_the_path_of_the_url(
        self, site: Site, spool_file: Path
    ) -> None:
        spool = this_computer.Spool(spool_file)
        spool.append([reading(1)])
        this_computer.Device(f"{site.url}/telemetry/", TOKEN, spool).talk()
        assert site.requests[0].path == "/telemetry/api/v1/device/telemetry"


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
    def test_the_program_without_a_token_exits_with_a_message_and_ex_config(
        self, launch: Callable[..., Any], site: Site, environment: dict[str, str]
    ) -> None:
        process = launch(**environment)
        out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert out.startswith("not started: no token in DEVICE_TOKEN")
        assert len(out.splitlines()) == 1
        assert process.returncode == os.EX_CONFIG
        assert site.requests == []

    def test_the_program_with_a_rejected_token_exits_with_a_message_and_ex_config(
        self, launch: Callable[..., Any], site: Site, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        site.answers["POST"] = (401, {"WWW-Authenticate": "Bearer"}, b"{}")
        process = launch(DEVICE_TOKEN_FILE="token")
        out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert "the site refused the token" in out
        assert TOKEN not in out
        assert process.returncode == os.EX_CONFIG
        (request,) = site.requests
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert read_spool(tmp_path / "this_computer.spool") == request.json["readings"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("answering", [True, False])
    def test_a_signal_ends_the_program_without_an_error_even_during_a_request(
        self, launch: Callable[..., Any], site: Site, number: signal.Signals, answering: bool
    ) -> None:
        if not answering:
            site.may_answer.clear()
        process = launch(DEVICE_TOKEN=TOKEN)
        assert site.requested.wait(TIMEOUT_SECONDS), "the program sent no request"
        process.send_signal(number)
        out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0
        assert out == f"reporting this computer to {site.url} every 5 s\n"

    @pytest.mark.parametrize(
        "options", [("--interval", "0"), ("--interval", "nan"), ("--url", "localhost:8000")]
    )
    def test_invalid_options_are_rejected(
        self, launch: Callable[..., Any], options: tuple[str, ...]
    ) -> None:
        process = launch(*options, DEVICE_TOKEN=TOKEN)
        out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 2
        assert "Traceback" not in out
