"""How a command ends: with a result, cancelled or expired; and late results."""

from datetime import timedelta

import pytest

from commands import services as command_services
from commands.models import Command
from commands.services import LEASE, MAX_ATTEMPTS, Reason, Status
from common.strict_json import InvalidJSONValue
from tests.commands.steps import HOUR, MICROSECOND, SECOND, claim, issue, status_and_reason
from tests.concurrency import run_concurrently
from tests.factories import NOW, CommandFactory


class TestFinishing:
    def test_an_executed_command_stores_its_result_and_time(self, device):
        done = NOW + 5 * SECOND
        command = command_services.record_result(
            issue(device), status=Status.EXECUTED, now=NOW + 6 * SECOND, executed_at=done,
            result={"ok": True},
        )  # fmt: skip
        assert status_and_reason(command) == ("executed", "")
        assert (command.result, command.executed_at) == ({"ok": True}, done)
        assert command.lease_until is None

    def test_executed_at_is_now_by_default(self, device):
        command = command_services.record_result(
            issue(device), status=Status.EXECUTED, now=NOW + SECOND
        )
        assert command.executed_at == NOW + SECOND

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({}, "device"),
            ({"reason": Reason.DEVICE}, "device"),
            ({"reason": Reason.REJECTED}, "rejected"),
        ],
    )
    def test_a_failed_command_has_a_reason(self, device, fields, reason):
        command = command_services.record_result(
            issue(device), status=Status.FAILED, now=NOW, **fields
        )
        assert status_and_reason(command) == ("failed", reason)
        assert command.executed_at is None

    @pytest.mark.parametrize("status", [Status.EXECUTED, Status.FAILED])
    @pytest.mark.parametrize("result", [None, {"a": [1.0, None]}])
    def test_the_same_result_twice_changes_nothing(self, device, status, result):
        command = issue(device)
        first = command_services.record_result(command, status=status, now=NOW, result=result)
        again = command_services.record_result(
            command, status=status, now=NOW + SECOND, result=result
        )
        assert again.executed_at == first.executed_at
        assert status_and_reason(again) == status_and_reason(first)

    @pytest.mark.parametrize(
        "other",
        [
            {"status": Status.FAILED, "result": {"a": 1}},
            {"status": Status.EXECUTED, "result": {"a": 2}},
            {"status": Status.EXECUTED},
        ],
    )
    def test_a_different_result_is_rejected_and_changes_nothing(self, device, other):
        command = issue(device)
        command_services.record_result(command, status=Status.EXECUTED, now=NOW, result={"a": 1})
        with pytest.raises(command_services.AlreadyFinished):
            command_services.record_result(command, now=NOW, **other)
        assert status_and_reason(command) == ("executed", "")
        assert command.result == {"a": 1}

    def test_a_different_reason_is_rejected(self, device):
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
    def test_a_late_result_replaces_the_expiry(self, device, status, ended):
        command = issue(device)
        claim(device)
        command_services.expire_overdue(now=NOW + HOUR)
        assert status_and_reason(command) == ("failed", "expired")
        command_services.record_result(command, status=status, now=NOW + 2 * HOUR)
        assert status_and_reason(command) == ended

    def test_a_result_after_the_last_attempt_is_accepted(self, device):
        command = CommandFactory.create(device=device, status="failed", reason="attempts")
        command_services.record_result(command, status=Status.EXECUTED, now=NOW)
        assert status_and_reason(command) == ("executed", "")

    def test_a_result_of_a_cancelled_command_is_rejected(self, device):
        command = command_services.cancel(issue(device), now=NOW)
        with pytest.raises(command_services.AlreadyFinished):
            command_services.record_result(command, status=Status.EXECUTED, now=NOW)
        assert status_and_reason(command) == ("failed", "cancelled")

    @pytest.mark.parametrize("result", [[], "ok", 1, {"a": "\0"}, {"a": "x" * 17_000}])
    def test_an_invalid_result_is_rejected(self, device, result):
        command = issue(device)
        with pytest.raises(InvalidJSONValue) as caught:
            command_services.record_result(command, status=Status.EXECUTED, now=NOW, result=result)
        assert caught.value.faults[0].pointer.startswith("/result")
        assert status_and_reason(command) == ("pending", "")

    @pytest.mark.django_db(transaction=True)
    def test_one_of_several_different_concurrent_results_is_stored(self):
        command = CommandFactory.create(created_at=NOW)

        def response(number):
            own_instance = Command.objects.get(pk=command.pk)
            return lambda: command_services.record_result(
                own_instance, status=Status.EXECUTED, now=NOW, result={"n": number}
            )

        outcomes = run_concurrently(*[response(number) for number in range(8)])
        winners = [number for number, one in enumerate(outcomes) if isinstance(one, Command)]
        assert len(winners) == 1
        assert sum(isinstance(one, command_services.AlreadyFinished) for one in outcomes) == 7
        command.refresh_from_db()
        assert command.result == {"n": winners[0]}


class TestEnding:
    def test_a_claimed_command_can_be_cancelled(self, device):
        command = issue(device)
        claim(device)
        assert status_and_reason(command_services.cancel(command, now=NOW)) == (
            "failed",
            "cancelled",
        )
        assert status_and_reason(command_services.cancel(command, now=NOW)) == (
            "failed",
            "cancelled",
        )

    @pytest.mark.parametrize("status", [Status.EXECUTED, Status.FAILED])
    def test_a_finished_command_cannot_be_cancelled(self, device, status):
        command = command_services.record_result(issue(device), status=status, now=NOW)
        before = status_and_reason(command)
        with pytest.raises(command_services.AlreadyFinished):
            command_services.cancel(command, now=NOW)
        assert status_and_reason(command) == before

    def test_an_overdue_command_cannot_be_cancelled_before_the_worker_marks_it(self, device):
        command = issue(device)
        with pytest.raises(command_services.AlreadyFinished):
            command_services.cancel(command, now=command.expires_at)

    def test_a_command_without_attempts_left_is_displayed_as_failed_before_it_is_marked(
        self, device
    ):
        command = issue(device, expires_in=30 * HOUR)
        for number in range(10):
            claim(device, now=NOW + number * HOUR)
        command.refresh_from_db()
        assert command.as_of(NOW + 9 * HOUR).status == "pending"
        assert command.as_of(NOW + 10 * HOUR).reason == "attempts"

    def test_an_overdue_command_is_marked_once(self, device):
        command = issue(device, expires_in=SECOND)
        issue(device)
        assert command_services.expire_overdue(now=NOW + SECOND - MICROSECOND) == 0
        assert command_services.expire_overdue(now=NOW + SECOND) == 1
        assert command_services.expire_overdue(now=NOW + SECOND) == 0
        assert status_and_reason(command) == ("failed", "expired")

    def test_an_overdue_command_is_displayed_as_expired_before_it_is_marked(self, device):
        command = issue(device)
        assert command.as_of(NOW + HOUR - MICROSECOND).status == "pending"
        shown = command.as_of(NOW + HOUR)
        assert (shown.status, shown.reason) == ("failed", "expired")
        assert status_and_reason(command) == ("pending", "")

    def test_the_pending_commands_of_a_device_are_counted(self, device):
        issue(device)
        issue(device)
        claim(device, limit=1)
        issue(device, expires_in=SECOND)
        command_services.cancel(issue(device), now=NOW)
        assert device.pending_command_count(NOW) == 3
        assert device.pending_command_count(NOW + SECOND) == 2


class TestLateResults:
    def test_a_result_before_the_expiry_is_not_late(self, device):
        command = issue(device)
        end = command.expires_at - MICROSECOND
        assert not command_services.record_result(command, status=Status.EXECUTED, now=end).late

    @pytest.mark.parametrize("marked", [True, False])
    def test_a_result_after_the_expiry_is_stored_as_late(self, device, marked):
        command = issue(device)
        if marked:
            command_services.expire_overdue(now=command.expires_at)
        command_services.record_result(
            command, status=Status.EXECUTED, now=command.expires_at, result={"a": 1}
        )  # fmt: skip
        assert (command.late, command.result) == (True, {"a": 1})
        assert status_and_reason(command) == ("executed", "")
        assert command.finished_at == command.expires_at

    @pytest.mark.parametrize("marked", [True, False])
    def test_a_result_after_the_last_attempt_is_late(self, device, marked):
        command = issue(device, expires_in=timedelta(days=1))
        for number in range(MAX_ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        end = NOW + MAX_ATTEMPTS * LEASE
        if marked:
            assert command_services.expire_overdue(now=end) == 1
        assert command_services.record_result(command, status=Status.EXECUTED, now=end).late

    def test_a_repeated_late_result_changes_nothing(self, device):
        command = issue(device)
        for _ in range(2):
            command_services.record_result(command, status=Status.EXECUTED, now=NOW + 2 * HOUR)
        assert command.late

    def test_reason_and_finish_time_do_not_depend_on_the_worker(self, device):
        expired = issue(device, expires_in=SECOND)
        given_up = issue(device, expires_in=timedelta(days=1))
        for number in range(MAX_ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        later = NOW + timedelta(days=3)
        shown = [Command.objects.get(pk=one.pk).as_of(later) for one in (expired, given_up)]
        command_services.expire_overdue(now=later)
        for before in shown:
            marked = Command.objects.get(pk=before.pk)
            assert (marked.reason, marked.finished_at) == (before.reason, before.finished_at)
        assert [one.reason for one in shown] == ["expired", "attempts"]

    def test_a_command_without_attempts_left_cannot_be_cancelled_and_does_not_count(self, device):
        command = issue(device, expires_in=timedelta(days=1))
        for number in range(MAX_ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        end = NOW + MAX_ATTEMPTS * LEASE
        assert device.pending_command_count(end) == 0
        with pytest.raises(command_services.AlreadyFinished):
            command_services.cancel(command, now=end)
