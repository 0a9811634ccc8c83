"""How a command ends: answered, cancelled or out of time, and what comes late."""

from datetime import timedelta

import pytest

from commands import services as command_services
from commands.models import Command
from commands.services import LEASE, MAX_ATTEMPTS, Reason, Status
from common.strict_json import InvalidJSONValue
from tests.commands.steps import HOUR, MICROSECOND, SECOND, claim, ending, issue
from tests.concurrency import at_once
from tests.factories import NOW, CommandFactory


class TestFinishing:
    def test_an_executed_command_keeps_its_result_and_time(self, device):
        done = NOW + 5 * SECOND
        command = command_services.record_result(
            issue(device), status=Status.EXECUTED, now=NOW + 6 * SECOND, executed_at=done,
            result={"ok": True},
        )  # fmt: skip
        assert ending(command) == ("executed", "")
        assert (command.result, command.executed_at) == ({"ok": True}, done)
        assert command.lease_until is None

    def test_without_a_time_it_was_executed_now(self, device):
        command = command_services.record_result(
            issue(device), status=Status.EXECUTED, now=NOW + SECOND
        )
        assert command.executed_at == NOW + SECOND

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({}, "device"),
            ({"reason": Reason.DEVICE}, "device"),
            ({"reason": Reason.REJECTED}, "rejected"),
        ],
    )
    def test_a_failed_command_has_a_reason(self, device, given, reason):
        command = command_services.record_result(
            issue(device), status=Status.FAILED, now=NOW, **given
        )
        assert ending(command) == ("failed", reason)
        assert command.executed_at is None

    @pytest.mark.parametrize("status", [Status.EXECUTED, Status.FAILED])
    @pytest.mark.parametrize("result", [None, {"a": [1.0, None]}])
    def test_the_same_answer_twice_is_harmless(self, device, status, result):
        command = issue(device)
        first = command_services.record_result(command, status=status, now=NOW, result=result)
        again = command_services.record_result(
            command, status=status, now=NOW + SECOND, result=result
        )
        assert again.executed_at == first.executed_at
        assert ending(again) == ending(first)

    @pytest.mark.parametrize(
        "other",
        [
            {"status": Status.FAILED, "result": {"a": 1}},
            {"status": Status.EXECUTED, "result": {"a": 2}},
            {"status": Status.EXECUTED},
        ],
    )
    def test_another_answer_is_refused_and_changes_nothing(self, device, other):
        command = issue(device)
        command_services.record_result(command, status=Status.EXECUTED, now=NOW, result={"a": 1})
        with pytest.raises(command_services.AlreadyFinished):
            command_services.record_result(command, now=NOW, **other)
        assert ending(command) == ("executed", "")
        assert command.result == {"a": 1}

    def test_another_reason_is_another_answer(self, device):
        command = issue(device)
        command_services.record_result(
            command, status=Status.FAILED, now=NOW, reason=Reason.REJECTED
        )
        with pytest.raises(command_services.AlreadyFinished):
            command_services.record_result(
                command, status=Status.FAILED, now=NOW, reason=Reason.DEVICE
            )

    @pytest.mark.parametrize(
        ("status", "ended"),
        [(Status.EXECUTED, ("executed", "")), (Status.FAILED, ("failed", "device"))],
    )
    def test_an_answer_that_comes_late_replaces_the_expiry(self, device, status, ended):
        command = issue(device)
        claim(device)
        command_services.expire_overdue(now=NOW + HOUR)
        assert ending(command) == ("failed", "expired")
        command_services.record_result(command, status=status, now=NOW + 2 * HOUR)
        assert ending(command) == ended

    def test_an_answer_after_the_last_attempt_counts_too(self, device):
        command = CommandFactory.create(device=device, status="failed", reason="attempts")
        command_services.record_result(command, status=Status.EXECUTED, now=NOW)
        assert ending(command) == ("executed", "")

    def test_a_cancelled_command_takes_no_answer(self, device):
        command = command_services.cancel(issue(device), now=NOW)
        with pytest.raises(command_services.AlreadyFinished):
            command_services.record_result(command, status=Status.EXECUTED, now=NOW)
        assert ending(command) == ("failed", "cancelled")

    @pytest.mark.parametrize("result", [[], "ok", 1, {"a": "\0"}, {"a": "x" * 17_000}])
    def test_a_result_is_an_object_that_can_be_stored(self, device, result):
        command = issue(device)
        with pytest.raises(InvalidJSONValue) as caught:
            command_services.record_result(command, status=Status.EXECUTED, now=NOW, result=result)
        assert caught.value.faults[0].pointer.startswith("/result")
        assert ending(command) == ("pending", "")

    @pytest.mark.django_db(transaction=True)
    def test_of_different_answers_at_once_one_wins(self):
        command = CommandFactory.create(created_at=NOW)

        def answer(number):
            mine = Command.objects.get(pk=command.pk)
            return lambda: command_services.record_result(
                mine, status=Status.EXECUTED, now=NOW, result={"n": number}
            )

        outcomes = at_once(*[answer(number) for number in range(8)])
        won = [number for number, one in enumerate(outcomes) if isinstance(one, Command)]
        assert len(won) == 1
        assert sum(isinstance(one, command_services.AlreadyFinished) for one in outcomes) == 7
        command.refresh_from_db()
        assert command.result == {"n": won[0]}


class TestEnding:
    def test_a_pending_command_can_be_cancelled_even_while_claimed(self, device):
        waiting = issue(device)
        claim(device)
        assert ending(command_services.cancel(waiting, now=NOW)) == ("failed", "cancelled")
        assert ending(command_services.cancel(waiting, now=NOW)) == ("failed", "cancelled")

    @pytest.mark.parametrize("status", [Status.EXECUTED, Status.FAILED])
    def test_what_has_ended_cannot_be_cancelled(self, device, status):
        command = command_services.record_result(issue(device), status=status, now=NOW)
        before = ending(command)
        with pytest.raises(command_services.AlreadyFinished):
            command_services.cancel(command, now=NOW)
        assert ending(command) == before

    def test_what_is_out_of_time_cannot_be_cancelled_before_the_worker_notes_it(self, device):
        command = issue(device)
        with pytest.raises(command_services.AlreadyFinished):
            command_services.cancel(command, now=command.expires_at)

    def test_what_was_fetched_too_often_shows_as_failed_before_the_worker_notes_it(self, device):
        command = issue(device, expires_in=30 * HOUR)
        for number in range(10):
            claim(device, now=NOW + number * HOUR)
        command.refresh_from_db()
        assert command.as_of(NOW + 9 * HOUR).status == "pending"
        assert command.as_of(NOW + 10 * HOUR).reason == "attempts"

    def test_what_is_out_of_time_is_marked_once(self, device):
        command = issue(device, expires_in=SECOND)
        issue(device)
        assert command_services.expire_overdue(now=NOW + SECOND - MICROSECOND) == 0
        assert command_services.expire_overdue(now=NOW + SECOND) == 1
        assert command_services.expire_overdue(now=NOW + SECOND) == 0
        assert ending(command) == ("failed", "expired")

    def test_a_command_out_of_time_shows_as_expired_before_it_is_marked(self, device):
        command = issue(device)
        assert command.as_of(NOW + HOUR - MICROSECOND).status == "pending"
        shown = command.as_of(NOW + HOUR)
        assert (shown.status, shown.reason) == ("failed", "expired")
        assert ending(command) == ("pending", "")

    def test_the_device_is_told_how_many_wait(self, device):
        issue(device)
        issue(device)
        claim(device, limit=1)
        issue(device, expires_in=SECOND)
        command_services.cancel(issue(device), now=NOW)
        assert device.waiting_commands(NOW) == 3
        assert device.waiting_commands(NOW + SECOND) == 2


class TestLateness:
    def test_an_answer_in_time_is_not_late(self, device):
        command = issue(device)
        end = command.expires_at - MICROSECOND
        assert not command_services.record_result(command, status=Status.EXECUTED, now=end).late

    @pytest.mark.parametrize("noted", [True, False])
    def test_one_after_the_expiry_is_kept_and_marked_whether_or_not_the_worker_came(
        self, device, noted
    ):
        command = issue(device)
        if noted:
            command_services.expire_overdue(now=command.expires_at)
        command_services.record_result(
            command, status=Status.EXECUTED, now=command.expires_at, result={"a": 1}
        )  # fmt: skip
        assert (command.late, command.result) == (True, {"a": 1})
        assert ending(command) == ("executed", "")
        assert command.finished_at == command.expires_at

    @pytest.mark.parametrize("noted", [True, False])
    def test_so_is_one_after_the_last_attempt(self, device, noted):
        command = issue(device, expires_in=timedelta(days=1))
        for number in range(MAX_ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        end = NOW + MAX_ATTEMPTS * LEASE
        if noted:
            assert command_services.expire_overdue(now=end) == 1
        assert command_services.record_result(command, status=Status.EXECUTED, now=end).late

    def test_sent_again_it_stays_late_and_harmless(self, device):
        command = issue(device)
        for _ in range(2):
            command_services.record_result(command, status=Status.EXECUTED, now=NOW + 2 * HOUR)
        assert command.late

    def test_what_ended_when_does_not_depend_on_the_worker(self, device):
        expired = issue(device, expires_in=SECOND)
        given_up = issue(device, expires_in=timedelta(days=1))
        for number in range(MAX_ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        far = NOW + timedelta(days=3)
        shown = [Command.objects.get(pk=one.pk).as_of(far) for one in (expired, given_up)]
        command_services.expire_overdue(now=far)
        for before in shown:
            noted = Command.objects.get(pk=before.pk)
            assert (noted.reason, noted.finished_at) == (before.reason, before.finished_at)
        assert [one.reason for one in shown] == ["expired", "attempts"]

    def test_what_gave_up_cannot_be_cancelled_and_leaves_room(self, device):
        command = issue(device, expires_in=timedelta(days=1))
        for number in range(MAX_ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        end = NOW + MAX_ATTEMPTS * LEASE
        assert device.waiting_commands(end) == 0
        with pytest.raises(command_services.AlreadyFinished):
            command_services.cancel(command, now=end)
