"""Commands for the example device: polling and execution."""

import math
import re
import threading
from typing import Any

import pytest

from tests.examples.computer import TOKEN, Crash, reading, this_computer
from tests.examples.conftest import TIMEOUT_SECONDS, Site


class TestPolling:
    def test_a_command_is_executed_between_two_samples(self, device: Any, site: Site) -> None:
        site.live = True
        listening = threading.Thread(target=device.listen, args=(60,))
        listening.start()
        assert site.waiting.wait(TIMEOUT_SECONDS), "the device does not poll for commands"
        identity = site.issue_command("report_now")
        listening.join(TIMEOUT_SECONDS)
        assert not listening.is_alive(), "the device still polls after the command"
        assert site.results[identity]["status"] == "executed"
        assert site.readings  # the readings that it has measured for the command

    def test_a_poll_without_a_command_lasts_the_given_time(self, device: Any, site: Site) -> None:
        site.live = True
        assert device.listen(1.0)
        assert device.live_url == site.url

    @pytest.mark.parametrize("answer", [(204, {}, b""), (503, {}, b""), (200, {}, b"<html>")])
    def test_a_failed_poll_is_not_repeated_for_a_while(
        self, device: Any, site: Site, answer: tuple[int, dict[str, str], bytes]
    ) -> None:
        device.live_url = site.url
        site.answers["GET"] = answer
        assert not device.listen(60)
        assert not device.listen(60)
        assert len(site.requests) == 1

    def test_the_live_url_is_requested_once_if_there_is_none(self, device: Any, site: Site) -> None:
        assert not device.listen(60)
        assert not device.listen(60)
        assert [request.path for request in site.requests] == ["/api/v1/device"]

    def test_no_poll_is_sent_while_the_site_is_down_or_shortly_before_a_sample(
        self, device: Any, site: Site
    ) -> None:
        assert not device.listen(0.9)
        device.away = True
        assert not device.listen(60)
        assert site.requests == []


class TestCommands:
    @pytest.fixture(autouse=True)
    def reading_to_send(self, device: Any) -> None:
        device.spool.append([reading(1)])

    def test_commands_are_not_requested_when_none_are_pending(
        self, device: Any, site: Site
    ) -> None:
        device.talk()
        assert site.requests_of("GET") == []

    def test_ping(self, device: Any, site: Site) -> None:
        command = site.issue_command("ping")
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
        command = site.issue_command("set_interval", {"seconds": seconds})
        device.talk()
        assert site.results[command]["status"] == "executed"
        assert site.results[command]["result"] == {"seconds": seconds}
        assert device.interval == seconds

    def test_set_interval_applies_to_the_current_wait(
        self, device: Any, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sleep(seconds: float) -> None:
            waits.append(seconds)
            raise Crash

        waits: list[float] = []
        site.issue_command("set_interval", {"seconds": 3600})
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
    def test_set_interval_rejects_an_invalid_interval(
        self, device: Any, site: Site, payload: Any
    ) -> None:
        command = site.issue_command("set_interval", payload)
        device.talk()
        assert site.results[command] == {
            "status": "failed",
            "reason": "rejected",
            "result": {"error": "seconds must be a number from 1 to 3600"},
        }
        assert device.interval == 5

    def test_report_now_measures_and_sends_immediately(self, device: Any, site: Site) -> None:
        command = site.issue_command("report_now")
        device.talk()
        count = site.results[command]["result"]["readings"]
        assert count > 0
        assert len(site.readings) == 1 + count
        assert device.spool.lines == []

    def test_an_unknown_command_is_rejected(self, device: Any, site: Site) -> None:
        command = site.issue_command("self_destruct")
        device.talk()
        assert site.results[command]["status"] == "failed"
        assert site.results[command]["result"]["error"] == (
            "unknown command self_destruct; this device knows ping, set_interval, report_now"
        )

    def test_commands_are_executed_in_order_and_their_results_are_sent(
        self, device: Any, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for seconds in (10, 20, 30):
            site.issue_command("set_interval", {"seconds": seconds})
        device.talk()
        assert list(site.results) == ["command-0", "command-1", "command-2"]
        assert device.interval == 30
        assert len(capsys.readouterr().out.splitlines()) == 3

    def test_a_rejected_result_does_not_block_the_next(
        self, device: Any, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finished, waiting = site.issue_command("ping"), site.issue_command("report_now")
        site.results[finished] = {"status": "executed"}
        device.talk()
        assert site.results[waiting]["status"] == "executed"
        assert "result not taken, already finished" in capsys.readouterr().out

    def test_a_lost_result_is_sent_when_the_command_is_received_again(
        self, device: Any, site: Site
    ) -> None:
        command = site.issue_command("ping")
        handed_out = list(site.commands)
        site.answers["PATCH"] = (503, {}, b"")
        device.talk()
        assert site.results == {}
        site.answers.clear()
        site.commands = handed_out  # the lease has ended
        device.spool.append([reading(2)])
        device.talk()
        assert site.results[command]["status"] == "executed"
