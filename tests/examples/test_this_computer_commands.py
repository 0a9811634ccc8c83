"""Commands for the example device: how it waits for them, and what it makes of each."""

import math
import re
import threading
from typing import Any

import pytest

from tests.examples.computer import TOKEN, Crash, reading, this_computer
from tests.examples.conftest import Site


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
