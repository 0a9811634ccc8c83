"""State machine: commands behave like a simple model, with several devices and a worker.

LIFECYCLE_RUNS sets the number of runs of fifty steps.
"""

import os
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from commands import services as command_services
from commands.batches import services as batches
from commands.models import Command, CommandBatch
from devices.models import Device
from tests.factories import NOW, DeviceFactory, UserFactory

RUNS = int(os.environ.get("LIFECYCLE_RUNS", "5"))
LIMIT = 4
LEASE = timedelta(seconds=60)
SHORT, HOUR, LONG = timedelta(seconds=90), timedelta(hours=1), timedelta(days=1)


class ExpectedCommand:
    """The expected state of a command."""

    def __init__(self, device: UUID, now: datetime, lifetime: timedelta) -> None:
        self.device, self.created, self.expires = device, now, now + lifetime
        self.status, self.reason, self.late = "pending", "", False
        self.attempts, self.lease, self.finished = 0, None, None
        self.result: Any = None

    lease: datetime | None
    finished: datetime | None

    def expire(self, now: datetime) -> None:
        """Fail the command if it is overdue; the first limit that was reached is the reason."""
        if self.status != "pending":
            return
        attempts_exhausted_at = self.lease if self.attempts == 10 else None
        if attempts_exhausted_at and attempts_exhausted_at <= min(now, self.expires):
            self.end("failed", "attempts", attempts_exhausted_at)
        elif self.expires <= now:
            self.end("failed", "expired", self.expires)

    def end(self, status: str, reason: str, at: datetime) -> None:
        self.status, self.reason, self.finished = status, reason, at

    def is_free(self, now: datetime) -> bool:
        leased = self.lease is not None and self.lease > now
        return self.status == "pending" and not leased and self.attempts < 10


class CommandMachine(RuleBasedStateMachine):
    commands = Bundle("commands")
    batches = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now, self.expected_commands = NOW, dict[UUID, ExpectedCommand]()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    @initialize()
    def make_devices(self) -> None:
        self.user = UserFactory.create()
        self.devices = DeviceFactory.create_batch(3, user=self.user)

    def pending(self, device: Device) -> int:
        return sum(
            one.device == device.pk and one.status == "pending"
            for one in self.expected_commands.values()
        )

    def add(self, command: Command, lifetime: timedelta) -> UUID:
        self.expected_commands[command.pk] = ExpectedCommand(command.device_id, self.now, lifetime)
        return command.pk

    @rule(
        seconds=st.sampled_from([1, 30, 59, 60, 61, 90, 600, 3600, 40_000]),
        worker=st.booleans(),
    )
    def time_passes(self, seconds: int, worker: bool) -> None:
        ended = sum(one.status != "pending" for one in self.expected_commands.values())
        self.now += timedelta(seconds=seconds)
        for one in self.expected_commands.values():
            one.expire(self.now)
        if worker:
            stored = Command.objects.exclude(status="pending").count()
            assert stored <= ended or not worker
            ended = sum(one.status != "pending" for one in self.expected_commands.values())
            assert command_services.expire_overdue(now=self.now) == ended - stored

    @rule(
        target=commands,
        device=st.integers(0, 2),
        lifetime=st.sampled_from([SHORT, HOUR, LONG]),
        key=st.sampled_from(["", "", "k", "l"]),
    )
    def issue(self, device: int, lifetime: timedelta, key: str) -> Any:
        to = self.devices[device]
        earlier = Command.objects.filter(device=to, idempotency_key=key).first() if key else None
        kwargs: dict[str, Any] = {
            "command_name": "a",
            "payload": {"key": key},
            "issued_by": self.user,
            "now": self.now,
            # A key always comes with the same body here.
            "expires_in": {"k": SHORT, "l": LONG}.get(key, lifetime),
            "idempotency_key": key,
        }
        if earlier:
            assert command_services.create_command(to, **kwargs) == earlier
            return earlier.pk
        if self.pending(to) >= LIMIT:
            with pytest.raises(command_services.QueueFull):
                command_services.create_command(to, **kwargs)
            return multiple()
        return self.add(command_services.create_command(to, **kwargs), kwargs["expires_in"])

    @rule(target=batches, lifetime=st.sampled_from([SHORT, LONG]))
    def issue_batch(self, lifetime: timedelta) -> Any:
        free = {device.pk for device in self.devices if self.pending(device) < LIMIT}
        kwargs: dict[str, Any] = {
            "command_name": "a",
            "payload": {},
            "issued_by": self.user,
            "now": self.now,
            "expires_in": lifetime,
        }
        if not free:
            with pytest.raises(batches.AllRejected):
                batches.create_batch(self.devices, **kwargs)
            return multiple()
        batch = batches.create_batch(self.devices, **kwargs)
        assert {command.device_id for command in batch.commands.all()} == free
        for command in batch.commands.all():
            self.add(command, lifetime)
        return batch.pk

    @rule(batch=batches)
    def cancel_all(self, batch: UUID) -> None:
        own = Command.objects.filter(batch=batch).values_list("pk", flat=True)
        pending = [
            self.expected_commands[pk]
            for pk in own
            if self.expected_commands[pk].status == "pending"
        ]
        assert batches.cancel(CommandBatch.objects.get(pk=batch), now=self.now) == len(pending)
        for one in pending:
            one.end("failed", "cancelled", self.now)

    @rule(device=st.integers(0, 2), limit=st.sampled_from([1, 2, 50]))
    def claim(self, device: int, limit: int) -> None:
        to = self.devices[device]
        free = [pk for pk, one in self.expected_commands.items() if one.device == to.pk]
        free = [pk for pk in free if self.expected_commands[pk].is_free(self.now)]
        expected = sorted(free, key=lambda pk: (self.expected_commands[pk].created, pk))[:limit]
        claimed = command_services.claim(to, now=self.now, limit=limit)
        assert [command.pk for command in claimed] == expected
        for pk in expected:
            self.expected_commands[pk].attempts += 1
            self.expected_commands[pk].lease = self.now + LEASE

    @rule(device=st.integers(0, 2), times=st.integers(5, 11))
    def claim_repeatedly_without_a_result(self, device: int, times: int) -> None:
        for _ in range(times):
            self.claim(device, 50)
            self.now += LEASE
            for one in self.expected_commands.values():
                one.expire(self.now)

    @rule(
        pk=commands,
        status=st.sampled_from(["executed", "failed"]),
        result=st.sampled_from([None, {"a": 1}]),
    )
    def record_result(self, pk: UUID, status: Command.Status, result: Any) -> None:
        one = self.expected_commands[pk]
        reason = "" if status == "executed" else "device"
        accepts_result = one.status == "pending" or one.reason in ("expired", "attempts")
        same = (one.status, one.reason, one.result) == (status, reason, result)
        command = Command.objects.get(pk=pk)
        if not accepts_result and not same:
            with pytest.raises(command_services.AlreadyFinished):
                command_services.record_result(command, status=status, now=self.now, result=result)
            return
        command_services.record_result(command, status=status, now=self.now, result=result)
        if accepts_result:
            one.late, one.result, one.lease = one.status != "pending", result, None
            one.end(status, reason, self.now)

    @rule(pk=commands)
    def cancel(self, pk: UUID) -> None:
        one, command = self.expected_commands[pk], Command.objects.get(pk=pk)
        if one.status == "pending":
            one.end("failed", "cancelled", self.now)
        if one.reason == "cancelled":
            command_services.cancel(command, now=self.now)
        else:
            with pytest.raises(command_services.AlreadyFinished):
                command_services.cancel(command, now=self.now)

    @rule(target=commands, pk=commands)
    def retry(self, pk: UUID) -> Any:
        one, command = self.expected_commands[pk], Command.objects.get(pk=pk)
        kwargs: dict[str, Any] = {"issued_by": self.user, "now": self.now}
        if one.status == "pending":
            with pytest.raises(command_services.StillPending):
                command_services.resend(command, **kwargs)
        elif self.pending(command.device) >= LIMIT:
            with pytest.raises(command_services.QueueFull):
                command_services.resend(command, **kwargs)
        else:
            new = command_services.resend(command, **kwargs)
            assert new.retry_of_id == pk
            return self.add(new, one.expires - one.created)
        return multiple()

    @invariant()
    def every_command_is_as_expected(self) -> None:
        stored = {command.pk: command.as_of(self.now) for command in Command.objects.all()}
        assert stored.keys() == self.expected_commands.keys()
        for pk, one in self.expected_commands.items():
            command = stored[pk]
            assert (command.status, command.reason, command.late, command.finished_at) == (
                one.status,
                one.reason,
                one.late,
                one.finished,
            )
            assert (command.attempts, command.result) == (one.attempts, one.result)


@pytest.mark.django_db
def test_commands_behave_like_the_model() -> None:
    with override_settings(PENDING_COMMANDS_PER_DEVICE=LIMIT):
        run_state_machine_as_test(
            CommandMachine,
            settings=settings(max_examples=RUNS, stateful_step_count=50, deadline=None),
        )
