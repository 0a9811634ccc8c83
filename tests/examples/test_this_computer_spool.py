"""The spool of the example device: while the site is down, over a restart and after a crash."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from tests.examples.computer import TOKEN, Crash, read_spool, reading, this_computer
from tests.examples.conftest import Site


class TestWhileTheSiteIsDown:
    def test_readings_are_spooled_and_sent_later_in_order(
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

    def test_only_the_file_owner_can_read_the_spool(
        self, start: Callable[[], Any], site: Site, spool_file: Path
    ) -> None:
        site.stop()
        device = start()
        device.sample()
        assert spool_file.stat().st_mode & 0o777 == 0o600
        device.spool.remove(1)
        assert spool_file.stat().st_mode & 0o777 == 0o600

    def test_spooled_readings_are_sent_after_a_restart(
        self, start: Callable[[], Any], site: Site, spool_file: Path
    ) -> None:
        site.stop()
        first = start()
        first.sample()
        first.talk()
        written = read_spool(spool_file)
        site.start()
        start().talk()
        assert site.readings == written

    @pytest.mark.parametrize(
        ("status", "headers", "body"),
        [
            (500, {}, b"<h1>Server Error</h1>"),
            (503, {}, b"{}"),
            (507, {}, b"{}"),
            (404, {}, b"{}"),
            (200, {}, b"<h1>Please log in to this network</h1>"),
            (201, {}, b"<h1>Please log in to this network</h1>"),
            (201, {}, b"17"),
        ],
    )
    def test_no_other_response_loses_a_reading(
        self, device: Any, site: Site, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        device.spool.append([reading(1)])
        site.answers["POST"] = (status, headers, body)
        device.talk()
        assert site.readings == []
        site.answers.clear()
        device.talk()
        assert site.readings == [reading(1)]

    def test_the_token_is_not_sent_to_a_redirect_target(self, device: Any, site: Site) -> None:
        device.spool.append([reading(1)])
        site.answers["POST"] = (308, {"Location": f"{site.url}/elsewhere"}, b"")
        device.talk()
        assert [request.path for request in site.requests] == ["/api/v1/device/telemetry"]

    def test_the_device_waits_for_retry_after(self, device: Any, site: Site) -> None:
        device.spool.append([reading(1)])
        site.answers["POST"] = (429, {"Retry-After": "600"}, b"{}")
        device.talk()
        site.answers.clear()
        device.talk()
        assert len(site.requests) == 1
        device.retry_at -= 600
        device.talk()
        assert site.readings == [reading(1)]

    def test_readings_accepted_before_a_failure_are_not_sent_again(
        self,
        device: Any,
        site: Site,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        written = [reading(number) for number in range(501)]
        device.spool.append(written)
        accept = site.accept

        def accept_one_batch(readings: list[dict[str, Any]]) -> tuple[int, Any]:
            return accept(readings) if not site.readings else (503, {})

        monkeypatch.setattr(site, "accept", accept_one_batch)
        device.talk()
        monkeypatch.undo()
        device.talk()
        assert [len(request.json["readings"]) for request in site.requests] == [500, 1, 1]
        assert site.readings == written
        assert capsys.readouterr().out.endswith("the site is back: 1 readings sent\n")

    def test_a_backlog_does_not_delay_the_next_sample(self, device: Any, site: Site) -> None:
        written = [reading(number) for number in range(501)]
        device.spool.append(written)
        device.talk(deadline=0.0)  # due already
        assert site.readings == written[:500]
        device.talk(deadline=0.0)
        assert site.readings == written


class TestSpool:
    def test_a_crash_before_the_removal_from_the_spool_sends_the_same_bytes_again(
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
        assert read_spool(spool_file) == []

    def test_a_crash_during_the_replacement_of_the_spool_loses_nothing(
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

    def test_a_last_line_without_a_line_break_is_sent(
        self, start: Callable[[], Any], site: Site, spool_file: Path
    ) -> None:
        start().spool.append([reading(1)])
        spool_file.write_bytes(spool_file.read_bytes().rstrip())
        start().spool.append([reading(2)])
        start().talk()
        assert site.readings == [reading(1), reading(2)]

    def test_a_full_spool_drops_the_oldest_readings(
        self, spool_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spool = this_computer.Spool(spool_file, limit=100)
        for number in range(101):
            spool.append([reading(number)])
        assert read_spool(spool_file) == [reading(number) for number in range(11, 101)]
        assert [json.loads(line) for line in spool.lines] == read_spool(spool_file)
        assert capsys.readouterr().out == "the spool is full: its oldest 11 readings are lost\n"

    def test_readings_are_sent_even_if_the_spool_cannot_be_written(
        self, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spool = this_computer.Spool(tmp_path / "no such folder" / "spool")
        spool.append([reading(1)])
        this_computer.Device(site.url, TOKEN, spool).talk()
        assert site.readings == [reading(1)]
        assert spool.lines == []
        assert "the spool cannot be written" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("poisoned", "said"), [(range(500), "500 of 500"), ([2], "1 of 500")], ids=["whole", "one"]
    )
    def test_rejected_readings_of_a_batch_are_dropped(
        self,
        device: Any,
        site: Site,
        spool_file: Path,
        capsys: pytest.CaptureFixture[str],
        poisoned: Collection[int],
        said: str,
    ) -> None:
        batch = [reading(n, "poison") if n in poisoned else reading(n) for n in range(500)]
        device.spool.append(batch)
        device.spool.append([reading(500)])
        device.talk()
        good = [reading(number) for number in range(501) if number not in poisoned]
        assert site.readings == good
        assert read_spool(spool_file) == []
        assert f"refused {said} readings" in capsys.readouterr().out
