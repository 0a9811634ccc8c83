from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import AuditEvent
from commands import services as command_services
from commands.batches import services as batches
from commands.models import Command, CommandBatch
from common.api import idempotency_keys
from common.strict_json import InvalidJSONValue
from devices import services as device_services
from tests.concurrency import run_concurrently
from tests.factories import (
    NOW,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    UserFactory,
    issue_batch,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(owner):
    return DeviceFactory.create_batch(3, user=owner)


def progress(batch, now=NOW):
    """Return the counts that are not zero."""
    return {k: v for k, v in batches.progress(batch, now=now)._asdict().items() if v}


class TestIssuing:
    def test_every_device_gets_one_command(self, owner, fleet):
        batch = issue_batch(*fleet, payload={"a": 1}, now=NOW)
        commands = Command.objects.all()
        assert {command.device_id for command in commands} == {device.pk for device in fleet}
        for command in commands:
            assert (command.batch, command.issued_by) == (batch, owner)
            assert (command.payload, command.expires_at) == ({"a": 1}, NOW + HOUR)
        assert progress(batch) == {"asked": 3, "pending": 3}

    def test_each_rejected_device_is_reported_with_a_code(self, owner, fleet, settings):
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        CommandFactory.create(device=fleet[0], created_at=NOW)
        CommandTypeFactory.create(
            device_type="lamp", command_name="reboot", payload_schema={"maxProperties": 0}
        )
        CommandTypeFactory.create(device_type="pump", command_name="stop")
        lamp, pump = (DeviceFactory.create(user=owner, device_type=t) for t in ("lamp", "pump"))
        unknown_id = uuid4()
        batch = batches.create_batch(
            [*fleet, lamp, pump], unknown=[unknown_id], command_name="reboot", payload={"a": 1},
            issued_by=owner, now=NOW,
        )  # fmt: skip
        assert {one["device_id"]: one["code"] for one in batch.refused} == {
            str(fleet[0].pk): "queue-full",
            str(lamp.pk): "invalid",
            str(pump.pk): "unknown-command",
            str(unknown_id): "not-found",
        }
        assert progress(batch) == {"asked": 6, "refused": 4, "pending": 2}
        (invalid,) = [one for one in batch.refused if one["code"] == "invalid"]
        assert invalid["errors"][0]["pointer"] == "/payload"

    def test_the_lifetime_is_that_of_the_catalogue_of_each_device_type(self, owner, fleet):
        CommandTypeFactory.create(device_type="lamp", command_name="reboot", default_expiry=60)
        lamp = DeviceFactory.create(user=owner, device_type="lamp")
        batch = issue_batch(lamp, fleet[0], now=NOW)
        assert lamp.commands.get().expires_at == NOW + timedelta(seconds=60)
        assert fleet[0].commands.get().expires_at == batch.expires_at == NOW + HOUR

    def test_a_batch_that_all_devices_reject_is_not_stored(self, owner, fleet, settings):
        settings.PENDING_COMMANDS_PER_DEVICE = 0
        with pytest.raises(batches.AllRejected) as caught:
            issue_batch(*fleet)
        assert [one["code"] for one in caught.value.rejected] == ["queue-full"] * 3
        assert not CommandBatch.objects.exists()

    def test_a_device_that_was_deleted_concurrently_is_reported_as_not_found(self, fleet):
        device_services.soft_delete(fleet[0], now=NOW)
        assert [one["code"] for one in issue_batch(*fleet).refused] == ["not-found"]

    def test_a_batch_needs_between_one_and_a_thousand_devices(self, owner, device):
        kwargs = {"command_name": "a", "payload": {}, "issued_by": owner, "now": NOW}
        with pytest.raises(batches.NoDevices):
            batches.create_batch([], **kwargs)
        with pytest.raises(batches.TooManyDevices):
            batches.create_batch([device], unknown=[uuid4() for _ in range(1000)], **kwargs)

    def test_an_invalid_command_raises_for_the_whole_batch(self, device):
        with pytest.raises(InvalidJSONValue):
            issue_batch(device, payload={"a": "\0"})
        with pytest.raises(ValidationError):
            issue_batch(device, command_name="a b")

    def test_a_thousand_devices_take_as_many_queries_as_one(self, owner, django_assert_num_queries):
        fleet = DeviceFactory.create_batch(1000, user=owner)
        for devices in (fleet[:1], fleet):
            # The catalogue, a transaction (2), capacity (2), the batch, its commands, the trail.
            with django_assert_num_queries(1 + 2 + 2 + 1 + 1 + 1):
                issue_batch(*devices)
        assert Command.objects.count() == 1001


class TestIdempotency:
    def test_the_same_key_returns_the_same_batch(self, fleet):
        first = issue_batch(*fleet, idempotency_key="k")
        assert issue_batch(*reversed(fleet), idempotency_key="k") == first
        assert Command.objects.count() == 3

    def test_the_same_key_with_another_body_is_rejected(self, fleet):
        issue_batch(*fleet, idempotency_key="k")
        for other in ({"payload": {"a": 1}}, {"unknown": [uuid4()]}, {"command_name": "b"}):
            with pytest.raises(idempotency_keys.IdempotencyKeyReused):
                issue_batch(*fleet, idempotency_key="k", **other)

    def test_the_same_filter_is_the_same_body_when_it_matches_other_devices(self, fleet):
        kwargs = {"idempotency_key": "k", "filters": {"status": "online"}}
        assert issue_batch(*fleet, **kwargs) == issue_batch(*fleet[:1], **kwargs)

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_requests_with_the_same_key_create_one_batch(self):
        fleet = DeviceFactory.create_batch(3, user=UserFactory.create())
        outcomes = run_concurrently(
            *[lambda: issue_batch(*fleet, idempotency_key="k", now=NOW)] * 6
        )
        assert {outcome.pk for outcome in outcomes} == {CommandBatch.objects.get().pk}
        assert Command.objects.count() == 3


class TestProgressAndCancelling:
    def test_the_progress_does_not_depend_on_the_worker(self, fleet):
        batch = issue_batch(*fleet, now=NOW)
        command_services.claim(fleet[0], now=NOW)
        command_services.record_result(fleet[1].commands.get(), status="executed", now=NOW)
        assert progress(batch) == {"asked": 3, "pending": 2, "delivered": 1, "executed": 1}
        finished = {"asked": 3, "executed": 1, "failed": 2}
        assert progress(batch, NOW + HOUR) == finished
        command_services.expire_overdue(now=NOW + HOUR)
        assert progress(batch, NOW + HOUR) == finished

    def test_cancelling_a_batch_cancels_only_its_pending_commands(self, fleet):
        batch = issue_batch(*fleet, now=NOW)
        other = CommandFactory.create(device=fleet[0], created_at=NOW)
        command_services.record_result(fleet[1].commands.get(), status="executed", now=NOW)
        assert batches.cancel(batch, now=NOW) == 2
        assert batches.cancel(batch, now=NOW + HOUR) == 0
        assert batch.cancelled_at == NOW
        assert progress(batch) == {"asked": 3, "executed": 1, "failed": 2}
        other.refresh_from_db()
        assert other.status == "pending"

    def test_a_batch_is_in_the_audit_trail_of_each_device_owner(self, owner, stranger, fleet):
        batch = issue_batch(*fleet, DeviceFactory.create(user=stranger))
        batches.cancel(batch, now=timezone.now())
        for action in ("command.sent_to_many", "command.cancelled_for_many"):
            events = AuditEvent.objects.filter(action=action, target_id=str(batch.pk))
            assert {event.owner: event.after for event in events} == {
                owner: {"devices": 3},
                stranger: {"devices": 1},
            }

    def test_a_batch_stays_when_its_issuer_is_deleted(self, owner, fleet):
        staff = UserFactory.create()
        batch = batches.create_batch(
            fleet, command_name="a", payload={}, issued_by=staff, now=timezone.now()
        )
        staff.delete()
        batch.refresh_from_db()
        assert batch.issued_by is None
        assert batch.commands.count() == 3


@pytest.mark.django_db(transaction=True)
def test_concurrent_operations_on_batches_do_not_deadlock():
    """Create and cancel batches in different orders, while devices claim and commands expire."""
    fleet = DeviceFactory.create_batch(20, user=UserFactory.create())
    old = issue_batch(*fleet, now=NOW)
    single_commands = [CommandFactory.create(device=device, created_at=NOW) for device in fleet]

    def claim_all():
        return [command_services.claim(device, now=NOW) for device in reversed(fleet)]

    outcomes = run_concurrently(
        lambda: issue_batch(*fleet, now=NOW),
        lambda: issue_batch(*reversed(fleet), now=NOW),
        lambda: batches.cancel(CommandBatch.objects.get(pk=old.pk), now=NOW),
        lambda: batches.cancel(CommandBatch.objects.get(pk=old.pk), now=NOW),
        lambda: command_services.expire_overdue(now=NOW + HOUR),
        lambda: [
            command_services.record_result(one, status="failed", now=NOW) for one in single_commands
        ],
        claim_all,
        claim_all,
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
