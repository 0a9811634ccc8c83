"""The life of commands against a model of it: several devices, a clock that moves, a worker that
comes now and then.

LIFECYCLE_RUNS says how many runs of fifty steps.
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


class Known:
    """What must be true of a command."""

    def __init__(self, device: UUID, now: datetime, life: timedelta) -> None:
        self.device, self.created, self.expires = device, now, now + life
        self.status, self.reason, self.late = "pending", "", False
        self.attempts, self.lease, self.finished = 0, None, None
        self.result: Any = None

    lease: datetime | None
    finished: datetime | None

    def let_time_pass(self, now: datetime) -> None:
        """End it where time has; whichever limit came first is the reason."""
        if self.status != "pending":
            return
        given_up = self.lease if self.attempts == 10 else None
        if given_up and given_up <= min(now, self.expires):
            self.end("failed", "attempts", given_up)
        elif self.expires <= now:
            self.end("failed", "expired", self.expires)

    def end(self, status: str, reason: str, at: datetime) -> None:
        self.status, self.reason, self.finished = status, reason, at

    def is_free(self, now: datetime) -> bool:
        leased = self.lease is not None and self.lease > now
        return self.status == "pending" and not leased and self.attempts < 10


class Lifecycle(RuleBasedStateMachine):
    commands = Bundle("commands")
    batches = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()
        self.now, self.known = NOW, dict[UUID, Known]()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undone.__exit__(None, None, None)

    @initialize()
    def make_devices(self) -> None:
        self.user = UserFactory.create()
        self.devices = DeviceFactory.create_batch(3, user=self.user)

    def waiting(self, device: Device) -> int:
        return sum(
            one.device == device.pk and one.status == "pending" for one in self.known.values()
        )

    def learn(self, command: Command, life: timedelta) -> UUID:
        self.known[command.pk] = Known(command.device_id, self.now, life)
        return command.pk

    @rule(
        seconds=st.sampled_from([1, 30, 59, 60, 61, 90, 600, 3600, 40_000]),
        worker=st.booleans(),
    )
    def time_passes(self, seconds: int, worker: bool) -> None:
        ended = sum(one.status != "pending" for one in self.known.values())
        self.now += timedelta(seconds=seconds)
        for one in self.known.values():
            one.let_time_pass(self.now)
        if worker:
            stored = Command.objects.exclude(status="pending").count()
            assert stored <= ended or not worker
            ended = sum(one.status != "pending" for one in self.known.values())
            assert command_services.expire_overdue(now=self.now) == ended - stored

    @rule(
        target=commands,
        device=st.integers(0, 2),
        life=st.sampled_from([SHORT, HOUR, LONG]),
        key=st.sampled_from(["", "", "k", "l"]),
    )
    def issue(self, device: int, life: timedelta, key: str) -> Any:
        to = self.devices[device]
        earlier = Command.objects.filter(device=to, idempotency_key=key).first() if key else None
        asked: dict[str, Any] = {
            "command_name": "a",
            "payload": {"key": key},
            "issued_by": self.user,
            "now": self.now,
            # A key always comes with the same body here.
            "expires_in": {"k": SHORT, "l": LONG}.get(key, life),
            "idempotency_key": key,
        }
        if earlier:
            assert command_services.create_command(to, **asked) == earlier
            return earlier.pk
        if self.waiting(to) >= LIMIT:
            with pytest.raises(command_services.QueueFull):
                command_services.create_command(to, **asked)
            return multiple()
        return self.learn(command_services.create_command(to, **asked), asked["expires_in"])

    @rule(target=batches, life=st.sampled_from([SHORT, LONG]))
    def issue_to_all(self, life: timedelta) -> Any:
        free = {device.pk for device in self.devices if self.waiting(device) < LIMIT}
        asked: dict[str, Any] = {
            "command_name": "a",
            "payload": {},
            "issued_by": self.user,
            "now": self.now,
            "expires_in": life,
        }
        if not free:
            with pytest.raises(batches.AllRejected):
                batches.issue(self.devices, **asked)
            return multiple()
        batch = batches.issue(self.devices, **asked)
        assert {command.device_id for command in batch.commands.all()} == free
        for command in batch.commands.all():
            self.learn(command, life)
        return batch.pk

    @rule(batch=batches)
    def cancel_all(self, batch: UUID) -> None:
        own = Command.objects.filter(batch=batch).values_list("pk", flat=True)
        waiting = [self.known[pk] for pk in own if self.known[pk].status == "pending"]
        assert batches.cancel(CommandBatch.objects.get(pk=batch), now=self.now) == len(waiting)
        for one in waiting:
            one.end("failed", "cancelled", self.now)

    @rule(device=st.integers(0, 2), limit=st.sampled_from([1, 2, 50]))
    def claim(self, device: int, limit: int) -> None:
        to = self.devices[device]
        free = [pk for pk, one in self.known.items() if one.device == to.pk]
        free = [pk for pk in free if self.known[pk].is_free(self.now)]
        expected = sorted(free, key=lambda pk: (self.known[pk].created, pk))[:limit]
        claimed = command_services.claim(to, now=self.now, limit=limit)
        assert [command.pk for command in claimed] == expected
        for pk in expected:
            self.known[pk].attempts += 1
            self.known[pk].lease = self.now + LEASE

    @rule(device=st.integers(0, 2), times=st.integers(5, 11))
    def fetch_again_and_again_without_an_answer(self, device: int, times: int) -> None:
        for _ in range(times):
            self.claim(device, 50)
            self.now += LEASE
            for one in self.known.values():
                one.let_time_pass(self.now)

    @rule(
        pk=commands,
        status=st.sampled_from(["executed", "failed"]),
        result=st.sampled_from([None, {"a": 1}]),
    )
    def finish(self, pk: UUID, status: Command.Status, result: Any) -> None:
        one = self.known[pk]
        reason = "" if status == "executed" else "device"
        open_to_answers = one.status == "pending" or one.reason in ("expired", "attempts")
        same = (one.status, one.reason, one.result) == (status, reason, result)
        command = Command.objects.get(pk=pk)
        if not open_to_answers and not same:
            with pytest.raises(command_services.AlreadyFinished):
                command_services.record_result(command, status=status, now=self.now, result=result)
            return
        command_services.record_result(command, status=status, now=self.now, result=result)
        if open_to_answers:
            one.late, one.result, one.lease = one.status != "pending", result, None
            one.end(status, reason, self.now)

    @rule(pk=commands)
    def cancel(self, pk: UUID) -> None:
        one, command = self.known[pk], Command.objects.get(pk=pk)
        if one.status == "pending":
            one.end("failed", "cancelled", self.now)
        if one.reason == "cancelled":
            command_services.cancel(command, now=self.now)
        else:
            with pytest.raises(command_services.AlreadyFinished):
                command_services.cancel(command, now=self.now)

    @rule(target=commands, pk=commands)
    def retry(self, pk: UUID) -> Any:
        one, command = self.known[pk], Command.objects.get(pk=pk)
        asked: dict[str, Any] = {"issued_by": self.user, "now": self.now}
        if one.status == "pending":
            with pytest.raises(command_services.StillPending):
                command_services.resend(command, **asked)
        elif self.waiting(command.device) >= LIMIT:
            with pytest.raises(command_services.QueueFull):
                command_services.resend(command, **asked)
        else:
            new = command_services.resend(command, **asked)
            assert new.retry_of_id == pk
            return self.learn(new, one.expires - one.created)
        return multiple()

    @invariant()
    def every_command_is_as_it_must_be(self) -> None:
        stored = {command.pk: command.as_of(self.now) for command in Command.objects.all()}
        assert stored.keys() == self.known.keys()
        for pk, one in self.known.items():
            command = stored[pk]
            assert (command.status, command.reason, command.late, command.finished_at) == (
                one.status,
                one.reason,
                one.late,
                one.finished,
            )
            assert (command.attempts, command.result) == (one.attempts, one.result)


@pytest.mark.django_db
def test_the_life_of_commands_is_that_of_the_model() -> None:
    with override_settings(PENDING_COMMANDS_PER_DEVICE=LIMIT):
        run_state_machine_as_test(
            Lifecycle,
            settings=settings(max_examples=RUNS, stateful_step_count=50, deadline=None),
        )
