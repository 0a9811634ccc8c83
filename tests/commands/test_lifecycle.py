from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from commands import lifecycle
from commands.lifecycle import ATTEMPTS, LEASE, Reason, Status
from commands.models import Command
from devices import idempotency
from devices.free_json import InvalidJSON
from tests.concurrency import at_once
from tests.factories import NOW, CommandFactory, CommandTypeFactory, DeviceFactory

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


def issue(device, now=NOW, **given):
    asked = {"command_name": "reboot", "payload": {}, "issued_by": None, **given}
    return lifecycle.issue(device, now=now, **asked)


def claim(device, now=NOW, **given):
    return lifecycle.claim(device, now=now, **given)


def ending(command):
    command.refresh_from_db()
    return command.status, command.reason


class TestIssuing:
    def test_a_new_command_waits_for_an_hour(self, owner, device):
        issue(device, payload={"a": 1}, issued_by=owner)
        command = Command.objects.get()
        assert ending(command) == ("pending", "")
        assert (command.device, command.issued_by, command.payload) == (device, owner, {"a": 1})
        assert (command.created_at, command.expires_at) == (NOW, NOW + HOUR)
        assert (command.attempts, command.delivered_at, command.lease_until) == (0, None, None)

    @pytest.mark.parametrize("name", ["", "a b", "a\n", "ä", "x" * 65, "a/b", "<b>", "a\0"])
    def test_a_name_is_a_short_word(self, device, name):
        with pytest.raises(ValidationError) as caught:
            issue(device, command_name=name)
        assert list(caught.value.error_dict) == ["command_name"]

    @pytest.mark.parametrize("payload", [None, [], "x", {"a": "\0"}, {"a": "x" * 17_000}])
    def test_a_payload_is_an_object_that_can_be_stored(self, device, payload):
        with pytest.raises(InvalidJSON) as caught:
            issue(device, payload=payload)
        assert caught.value.faults[0].pointer.startswith("/payload")

    def test_fifty_wait_at_the_most(self, device):
        for _ in range(50):
            issue(device)
        with pytest.raises(lifecycle.QueueFull):
            issue(device)
        issue(DeviceFactory.create())

    def test_what_is_finished_or_expired_leaves_room(self, device):
        commands = [issue(device) for _ in range(50)]
        lifecycle.cancel(commands[0], now=NOW)
        issue(device)
        with pytest.raises(lifecycle.QueueFull):
            issue(device, now=NOW + HOUR - MICROSECOND)
        issue(device, now=NOW + HOUR)

    @pytest.mark.django_db(transaction=True)
    def test_even_at_once_no_more_than_fifty_are_taken(self):
        device = DeviceFactory.create()
        CommandFactory.create_batch(45, device=device, created_at=NOW)
        outcomes = at_once(*[lambda: issue(device)] * 12)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds.count(Command) == 5
        assert kinds.count(lifecycle.QueueFull) == 7
        assert device.commands.count() == 50


class TestClaiming:
    def test_the_oldest_come_first(self, device):
        late = issue(device, now=NOW + SECOND)
        early = issue(device, now=NOW)
        assert claim(device, now=NOW + 2 * SECOND) == [early, late]

    def test_a_claim_takes_what_it_asks_for_and_leaves_the_rest(self, device):
        commands = [issue(device, now=NOW + number * SECOND) for number in range(3)]
        later = NOW + 5 * SECOND
        assert claim(device, now=later, limit=2) == commands[:2]
        assert claim(device, now=later, limit=2) == commands[2:]
        assert claim(device, now=later) == []

    def test_a_claimed_command_is_the_devices_for_a_minute(self, device):
        issue(device)
        (command,) = claim(device)
        assert (command.attempts, command.delivered_at) == (1, NOW)
        assert command.lease_until == NOW + timedelta(seconds=60)
        assert ending(command) == ("pending", "")
        assert claim(device, now=NOW + LEASE - MICROSECOND) == []

    def test_it_is_handed_out_again_after_that(self, device):
        issue(device)
        claim(device)
        (again,) = claim(device, now=NOW + LEASE)
        assert again.attempts == 2
        assert again.delivered_at == NOW
        assert again.lease_until == NOW + 2 * LEASE

    def test_one_that_is_stuck_does_not_hold_up_the_others(self, device):
        issue(device)
        claim(device)
        other = issue(device, now=NOW + SECOND)
        assert claim(device, now=NOW + SECOND) == [other]

    def test_after_ten_attempts_it_has_failed(self, device):
        command = issue(device, expires_in=timedelta(days=1))
        for attempt in range(ATTEMPTS):
            assert claim(device, now=NOW + attempt * LEASE) == [command]
            assert lifecycle.expire(now=NOW + attempt * LEASE) == 0
        end = NOW + ATTEMPTS * LEASE
        assert claim(device, now=end) == []
        assert lifecycle.expire(now=end) == 1
        assert ending(command) == (Status.FAILED, Reason.ATTEMPTS)

    def test_an_expired_one_is_never_handed_out(self, device):
        issue(device, expires_in=SECOND)
        assert claim(device, now=NOW + SECOND) == []
        assert len(claim(device, now=NOW + SECOND - MICROSECOND)) == 1

    def test_nobody_gets_the_commands_of_another_device(self, device):
        issue(DeviceFactory.create())
        assert claim(device) == []

    def test_what_is_finished_is_not_handed_out(self, device):
        for number, end in enumerate((Status.EXECUTED, Status.FAILED)):
            lifecycle.finish(issue(device, now=NOW + number * SECOND), status=end, now=NOW)
        lifecycle.cancel(issue(device), now=NOW)
        assert claim(device, now=NOW + LEASE) == []

    @pytest.mark.django_db(transaction=True)
    def test_pollers_at_once_never_get_the_same_command(self):
        device = DeviceFactory.create()
        commands = CommandFactory.create_batch(50, device=device, created_at=NOW)
        outcomes = at_once(*[lambda: claim(device, limit=5)] * 10)
        handed_out = [command.pk for outcome in outcomes for command in outcome]
        assert len(handed_out) == len(set(handed_out))
        # A poller passes over what another one holds for the moment; nothing is lost by it.
        handed_out += [command.pk for command in claim(device)]
        assert sorted(handed_out) == sorted(command.pk for command in commands)
        assert set(device.commands.values_list("attempts", flat=True)) == {1}

    def test_claiming_takes_as_many_queries_for_fifty_as_for_one(
        self, device, django_assert_num_queries
    ):
        for count in (1, 49):
            CommandFactory.create_batch(count, device=device, created_at=NOW)
            # Choose, take, read; and the savepoint that is a transaction outside of a test.
            with django_assert_num_queries(3 + 2):
                assert len(claim(device)) == count


class TestFinishing:
    def test_an_executed_command_keeps_its_result_and_time(self, device):
        done = NOW + 5 * SECOND
        command = lifecycle.finish(
            issue(device), status=Status.EXECUTED, now=NOW + 6 * SECOND, executed_at=done,
            result={"ok": True},
        )  # fmt: skip
        assert ending(command) == ("executed", "")
        assert (command.result, command.executed_at) == ({"ok": True}, done)
        assert command.lease_until is None

    def test_without_a_time_it_was_executed_now(self, device):
        command = lifecycle.finish(issue(device), status=Status.EXECUTED, now=NOW + SECOND)
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
        command = lifecycle.finish(issue(device), status=Status.FAILED, now=NOW, **given)
        assert ending(command) == ("failed", reason)
        assert command.executed_at is None

    @pytest.mark.parametrize("status", [Status.EXECUTED, Status.FAILED])
    @pytest.mark.parametrize("result", [None, {"a": [1.0, None]}])
    def test_the_same_answer_twice_is_harmless(self, device, status, result):
        command = issue(device)
        first = lifecycle.finish(command, status=status, now=NOW, result=result)
        again = lifecycle.finish(command, status=status, now=NOW + SECOND, result=result)
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
        lifecycle.finish(command, status=Status.EXECUTED, now=NOW, result={"a": 1})
        with pytest.raises(lifecycle.AlreadyFinished):
            lifecycle.finish(command, now=NOW, **other)
        assert ending(command) == ("executed", "")
        assert command.result == {"a": 1}

    def test_another_reason_is_another_answer(self, device):
        command = issue(device)
        lifecycle.finish(command, status=Status.FAILED, now=NOW, reason=Reason.REJECTED)
        with pytest.raises(lifecycle.AlreadyFinished):
            lifecycle.finish(command, status=Status.FAILED, now=NOW, reason=Reason.DEVICE)

    @pytest.mark.parametrize(
        ("status", "ended"),
        [(Status.EXECUTED, ("executed", "")), (Status.FAILED, ("failed", "device"))],
    )
    def test_an_answer_that_comes_late_replaces_the_expiry(self, device, status, ended):
        command = issue(device)
        claim(device)
        lifecycle.expire(now=NOW + HOUR)
        assert ending(command) == ("failed", "expired")
        lifecycle.finish(command, status=status, now=NOW + 2 * HOUR)
        assert ending(command) == ended

    def test_an_answer_after_the_last_attempt_counts_too(self, device):
        command = CommandFactory.create(device=device, status="failed", reason="attempts")
        lifecycle.finish(command, status=Status.EXECUTED, now=NOW)
        assert ending(command) == ("executed", "")

    def test_a_cancelled_command_takes_no_answer(self, device):
        command = lifecycle.cancel(issue(device), now=NOW)
        with pytest.raises(lifecycle.AlreadyFinished):
            lifecycle.finish(command, status=Status.EXECUTED, now=NOW)
        assert ending(command) == ("failed", "cancelled")

    @pytest.mark.parametrize("result", [[], "ok", 1, {"a": "\0"}, {"a": "x" * 17_000}])
    def test_a_result_is_an_object_that_can_be_stored(self, device, result):
        command = issue(device)
        with pytest.raises(InvalidJSON) as caught:
            lifecycle.finish(command, status=Status.EXECUTED, now=NOW, result=result)
        assert caught.value.faults[0].pointer.startswith("/result")
        assert ending(command) == ("pending", "")

    @pytest.mark.django_db(transaction=True)
    def test_of_different_answers_at_once_one_wins(self):
        command = CommandFactory.create(created_at=NOW)

        def answer(number):
            mine = Command.objects.get(pk=command.pk)
            return lambda: lifecycle.finish(
                mine, status=Status.EXECUTED, now=NOW, result={"n": number}
            )

        outcomes = at_once(*[answer(number) for number in range(8)])
        won = [number for number, one in enumerate(outcomes) if isinstance(one, Command)]
        assert len(won) == 1
        assert sum(isinstance(one, lifecycle.AlreadyFinished) for one in outcomes) == 7
        command.refresh_from_db()
        assert command.result == {"n": won[0]}


class TestEnding:
    def test_a_pending_command_can_be_cancelled_even_while_claimed(self, device):
        waiting = issue(device)
        claim(device)
        assert ending(lifecycle.cancel(waiting, now=NOW)) == ("failed", "cancelled")
        assert ending(lifecycle.cancel(waiting, now=NOW)) == ("failed", "cancelled")

    @pytest.mark.parametrize("status", [Status.EXECUTED, Status.FAILED])
    def test_what_has_ended_cannot_be_cancelled(self, device, status):
        command = lifecycle.finish(issue(device), status=status, now=NOW)
        before = ending(command)
        with pytest.raises(lifecycle.AlreadyFinished):
            lifecycle.cancel(command, now=NOW)
        assert ending(command) == before

    def test_what_is_out_of_time_cannot_be_cancelled_before_the_worker_notes_it(self, device):
        command = issue(device)
        with pytest.raises(lifecycle.AlreadyFinished):
            lifecycle.cancel(command, now=command.expires_at)

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
        assert lifecycle.expire(now=NOW + SECOND - MICROSECOND) == 0
        assert lifecycle.expire(now=NOW + SECOND) == 1
        assert lifecycle.expire(now=NOW + SECOND) == 0
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
        lifecycle.cancel(issue(device), now=NOW)
        assert device.waiting_commands(NOW) == 3
        assert device.waiting_commands(NOW + SECOND) == 2


class TestLateness:
    def test_an_answer_in_time_is_not_late(self, device):
        command = issue(device)
        end = command.expires_at - MICROSECOND
        assert not lifecycle.finish(command, status=Status.EXECUTED, now=end).late

    @pytest.mark.parametrize("noted", [True, False])
    def test_one_after_the_expiry_is_kept_and_marked_whether_or_not_the_worker_came(
        self, device, noted
    ):
        command = issue(device)
        if noted:
            lifecycle.expire(now=command.expires_at)
        lifecycle.finish(
            command, status=Status.EXECUTED, now=command.expires_at, result={"a": 1}
        )  # fmt: skip
        assert (command.late, command.result) == (True, {"a": 1})
        assert ending(command) == ("executed", "")
        assert command.finished_at == command.expires_at

    @pytest.mark.parametrize("noted", [True, False])
    def test_so_is_one_after_the_last_attempt(self, device, noted):
        command = issue(device, expires_in=timedelta(days=1))
        for number in range(ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        end = NOW + ATTEMPTS * LEASE
        if noted:
            assert lifecycle.expire(now=end) == 1
        assert lifecycle.finish(command, status=Status.EXECUTED, now=end).late

    def test_sent_again_it_stays_late_and_harmless(self, device):
        command = issue(device)
        for _ in range(2):
            lifecycle.finish(command, status=Status.EXECUTED, now=NOW + 2 * HOUR)
        assert command.late

    def test_what_ended_when_does_not_depend_on_the_worker(self, device):
        expired = issue(device, expires_in=SECOND)
        given_up = issue(device, expires_in=timedelta(days=1))
        for number in range(ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        far = NOW + timedelta(days=3)
        shown = [Command.objects.get(pk=one.pk).as_of(far) for one in (expired, given_up)]
        lifecycle.expire(now=far)
        for before in shown:
            noted = Command.objects.get(pk=before.pk)
            assert (noted.reason, noted.finished_at) == (before.reason, before.finished_at)
        assert [one.reason for one in shown] == ["expired", "attempts"]

    def test_what_gave_up_cannot_be_cancelled_and_leaves_room(self, device):
        command = issue(device, expires_in=timedelta(days=1))
        for number in range(ATTEMPTS):
            claim(device, now=NOW + number * LEASE)
        end = NOW + ATTEMPTS * LEASE
        assert device.waiting_commands(end) == 0
        with pytest.raises(lifecycle.AlreadyFinished):
            lifecycle.cancel(command, now=end)


class TestSendingAgain:
    def test_it_is_a_new_command_that_refers_to_the_old(self, owner, device):
        old = issue(device, payload={"a": 1}, expires_in=5 * SECOND)
        new = lifecycle.retry(old, issued_by=owner, now=NOW + HOUR)
        assert new.pk != old.pk
        assert (new.command_name, new.payload, new.retry_of) == ("reboot", {"a": 1}, old)
        assert (new.issued_by, new.expires_at) == (owner, NOW + HOUR + 5 * SECOND)
        assert ending(new) == ("pending", "")

    def test_what_has_not_ended_is_not_sent_again(self, device):
        command = issue(device)
        with pytest.raises(lifecycle.StillPending):
            lifecycle.retry(command, issued_by=None, now=NOW)
        assert device.commands.count() == 1

    def test_the_catalogue_of_today_decides(self, device):
        old = lifecycle.cancel(issue(device), now=NOW)
        CommandTypeFactory.create(device_type=device.device_type, command_name="other")
        with pytest.raises(InvalidJSON):
            lifecycle.retry(old, issued_by=None, now=NOW)

    def test_the_old_one_may_go_and_the_new_one_stays(self, device):
        old = lifecycle.cancel(issue(device), now=NOW)
        new = lifecycle.retry(old, issued_by=None, now=NOW)
        old.delete()
        new.refresh_from_db()
        assert new.retry_of is None


class TestIdempotency:
    def test_the_same_key_brings_the_same_command(self, owner, device):
        first = issue(device, issued_by=owner, idempotency_key="k")
        claim(device)
        again = issue(device, issued_by=owner, idempotency_key="k", now=NOW + SECOND)
        assert again == first
        assert again.attempts == 1
        assert device.commands.count() == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"command_name": "halt"},
            {"payload": {"a": 1}},
            {"payload": {"a": True}},
            {"payload": {"a": 1.0, "b": 0}},
            {"expires_in": SECOND},
        ],
    )
    def test_with_another_body_it_is_refused(self, owner, device, other):
        asked = {"issued_by": owner, "idempotency_key": "k"}
        issue(device, payload={"a": 1, "b": 0}, **asked)
        with pytest.raises(idempotency.IdempotencyKeyReused):
            issue(device, **{"payload": {"a": 1, "b": 0}, **asked, **other})
        assert device.commands.count() == 1

    def test_the_order_of_keys_is_no_other_body(self, owner, device):
        asked = {"issued_by": owner, "idempotency_key": "k"}
        issue(device, payload={"a": 1, "b": 0}, **asked)
        issue(device, payload={"b": 0, "a": 1}, **asked)
        assert device.commands.count() == 1

    def test_a_key_is_one_issuers_for_one_device(self, owner, stranger, device):
        other = DeviceFactory.create(user=owner)
        for target, sender in ((device, owner), (device, stranger), (other, owner)):
            issue(target, issued_by=sender, idempotency_key="k")
        assert Command.objects.count() == 3

    def test_a_full_queue_and_a_new_catalogue_do_not_hide_what_was_sent(
        self, owner, device, settings
    ):
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        first = issue(device, issued_by=owner, idempotency_key="k")
        CommandTypeFactory.create(device_type=device.device_type, command_name="other")
        assert issue(device, issued_by=owner, idempotency_key="k") == first

    @pytest.mark.parametrize("key", ["a\n", "ä", "x" * 256])
    def test_a_key_is_short_and_printable(self, owner, device, key):
        with pytest.raises(idempotency.InvalidIdempotencyKey):
            issue(device, issued_by=owner, idempotency_key=key)

    @pytest.mark.django_db(transaction=True)
    def test_of_many_at_once_one_is_stored_and_all_get_it(self):
        device = DeviceFactory.create()
        asked = {"issued_by": device.user, "idempotency_key": "k"}
        outcomes = at_once(*[lambda: issue(device, **asked)] * 8)
        assert {outcome.pk for outcome in outcomes} == {Command.objects.get().pk}

    def test_the_database_keeps_a_key_unique(self, owner, device):
        CommandFactory.create(device=device, issued_by=owner, idempotency_key="k")
        with pytest.raises(IntegrityError, match="commands_idempotency_key_unique"):
            CommandFactory.create(device=device, issued_by=owner, idempotency_key="k")


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"status": "done", "finished_at": NOW}, "commands_status_known"),
        ({"status": "failed", "finished_at": NOW}, "commands_reason_if_and_only_if_failed"),
        ({"reason": "device"}, "commands_reason_if_and_only_if_failed"),
        (
            {"status": "executed", "executed_at": NOW, "finished_at": NOW, "reason": "device"},
            "commands_reason_if_and_only_if_failed",
        ),
        ({"status": "executed", "finished_at": NOW}, "commands_executed_has_a_time"),
        ({"finished_at": NOW}, "commands_finished_at_if_and_only_if_ended"),
        ({"status": "failed", "reason": "device"}, "commands_finished_at_if_and_only_if_ended"),
        ({"expires_at": NOW}, "commands_expire_after_creation"),
        ({"attempts": 11}, "commands_attempts_bounded"),
    ],
)
def test_the_database_refuses_an_impossible_command(device, fields, constraint):
    command = issue(device)
    with pytest.raises(IntegrityError, match=constraint):
        Command.objects.filter(pk=command.pk).update(**fields)
