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
from tests.concurrency import at_once
from tests.factories import (
    NOW,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    UserFactory,
    send_to_many,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(owner):
    return DeviceFactory.create_batch(3, user=owner)


def progress(batch, now=NOW):
    """Without what is nought."""
    return {k: v for k, v in batches.progress(batch, now=now)._asdict().items() if v}


class TestIssuing:
    def test_every_device_gets_a_command_of_its_own(self, owner, fleet):
        batch = send_to_many(*fleet, payload={"a": 1}, now=NOW)
        commands = Command.objects.all()
        assert {command.device_id for command in commands} == {device.pk for device in fleet}
        for command in commands:
            assert (command.batch, command.issued_by) == (batch, owner)
            assert (command.payload, command.expires_at) == ({"a": 1}, NOW + HOUR)
        assert progress(batch) == {"asked": 3, "pending": 3}

    def test_who_cannot_take_it_is_told_device_by_device(self, owner, fleet, settings):
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        CommandFactory.create(device=fleet[0], created_at=NOW)
        CommandTypeFactory.create(
            device_type="lamp", command_name="reboot", payload_schema={"maxProperties": 0}
        )
        CommandTypeFactory.create(device_type="pump", command_name="stop")
        lamp, pump = (DeviceFactory.create(user=owner, device_type=t) for t in ("lamp", "pump"))
        nobody = uuid4()
        batch = batches.issue(
            [*fleet, lamp, pump], unknown=[nobody], command_name="reboot", payload={"a": 1},
            issued_by=owner, now=NOW,
        )  # fmt: skip
        assert {one["device_id"]: one["code"] for one in batch.refused} == {
            str(fleet[0].pk): "queue-full",
            str(lamp.pk): "invalid",
            str(pump.pk): "unknown-command",
            str(nobody): "not-found",
        }
        assert progress(batch) == {"asked": 6, "refused": 4, "pending": 2}
        (misfit,) = [one for one in batch.refused if one["code"] == "invalid"]
        assert misfit["errors"][0]["pointer"] == "/payload"

    def test_each_type_waits_as_its_catalogue_says(self, owner, fleet):
        CommandTypeFactory.create(device_type="lamp", command_name="reboot", default_expiry=60)
        lamp = DeviceFactory.create(user=owner, device_type="lamp")
        batch = send_to_many(lamp, fleet[0], now=NOW)
        assert lamp.commands.get().expires_at == NOW + timedelta(seconds=60)
        assert fleet[0].commands.get().expires_at == batch.expires_at == NOW + HOUR

    def test_what_nobody_takes_is_no_batch(self, owner, fleet, settings):
        settings.PENDING_COMMANDS_PER_DEVICE = 0
        with pytest.raises(batches.AllRejected) as caught:
            send_to_many(*fleet)
        assert [one["code"] for one in caught.value.refused] == ["queue-full"] * 3
        assert not CommandBatch.objects.exists()

    def test_a_device_that_was_deleted_in_the_meantime_gets_none(self, fleet):
        device_services.soft_delete(fleet[0], now=NOW)
        assert [one["code"] for one in send_to_many(*fleet).refused] == ["not-found"]

    def test_it_is_for_one_at_the_least_and_a_thousand_at_the_most(self, owner, device):
        asked = {"command_name": "a", "payload": {}, "issued_by": owner, "now": NOW}
        with pytest.raises(batches.NoDevices):
            batches.issue([], **asked)
        with pytest.raises(batches.TooManyDevices):
            batches.issue([device], unknown=[uuid4() for _ in range(1000)], **asked)

    def test_a_command_nobody_could_send_is_refused_as_a_whole(self, device):
        with pytest.raises(InvalidJSONValue):
            send_to_many(device, payload={"a": "\0"})
        with pytest.raises(ValidationError):
            send_to_many(device, command_name="a b")

    def test_a_thousand_cost_as_many_queries_as_one(self, owner, django_assert_num_queries):
        fleet = DeviceFactory.create_batch(1000, user=owner)
        for some in (fleet[:1], fleet):
            # The catalogue, a transaction (2), room (2), the batch, its commands, the trail.
            with django_assert_num_queries(1 + 2 + 2 + 1 + 1 + 1):
                send_to_many(*some)
        assert Command.objects.count() == 1001


class TestIdempotency:
    def test_the_same_key_brings_the_same_batch(self, fleet):
        first = send_to_many(*fleet, idempotency_key="k")
        assert send_to_many(*reversed(fleet), idempotency_key="k") == first
        assert Command.objects.count() == 3

    def test_with_another_body_it_is_refused(self, fleet):
        send_to_many(*fleet, idempotency_key="k")
        for other in ({"payload": {"a": 1}}, {"unknown": [uuid4()]}, {"command_name": "b"}):
            with pytest.raises(idempotency_keys.IdempotencyKeyReused):
                send_to_many(*fleet, idempotency_key="k", **other)

    def test_the_same_filter_is_the_same_body_though_it_finds_others(self, fleet):
        asked = {"idempotency_key": "k", "wanted": {"status": "online"}}
        assert send_to_many(*fleet, **asked) == send_to_many(*fleet[:1], **asked)

    @pytest.mark.django_db(transaction=True)
    def test_of_many_at_once_one_is_stored_and_all_get_it(self):
        fleet = DeviceFactory.create_batch(3, user=UserFactory.create())
        outcomes = at_once(*[lambda: send_to_many(*fleet, idempotency_key="k", now=NOW)] * 6)
        assert {outcome.pk for outcome in outcomes} == {CommandBatch.objects.get().pk}
        assert Command.objects.count() == 3


class TestProgressAndCancelling:
    def test_it_is_counted_as_things_stand_whether_or_not_the_worker_came(self, fleet):
        batch = send_to_many(*fleet, now=NOW)
        command_services.claim(fleet[0], now=NOW)
        command_services.record_result(fleet[1].commands.get(), status="executed", now=NOW)
        assert progress(batch) == {"asked": 3, "pending": 2, "delivered": 1, "executed": 1}
        over = {"asked": 3, "executed": 1, "failed": 2}
        assert progress(batch, NOW + HOUR) == over
        command_services.expire_overdue(now=NOW + HOUR)
        assert progress(batch, NOW + HOUR) == over

    def test_it_is_cancelled_as_one_but_for_what_has_ended(self, fleet):
        batch = send_to_many(*fleet, now=NOW)
        other = CommandFactory.create(device=fleet[0], created_at=NOW)
        command_services.record_result(fleet[1].commands.get(), status="executed", now=NOW)
        assert batches.cancel(batch, now=NOW) == 2
        assert batches.cancel(batch, now=NOW + HOUR) == 0
        assert batch.cancelled_at == NOW
        assert progress(batch) == {"asked": 3, "executed": 1, "failed": 2}
        other.refresh_from_db()
        assert other.status == "pending"

    def test_each_owner_finds_it_in_their_trail(self, owner, stranger, fleet):
        batch = send_to_many(*fleet, DeviceFactory.create(user=stranger))
        batches.cancel(batch, now=timezone.now())
        for action in ("command.sent_to_many", "command.cancelled_for_many"):
            told = AuditEvent.objects.filter(action=action, target_id=str(batch.pk))
            assert {event.owner: event.after for event in told} == {
                owner: {"devices": 3},
                stranger: {"devices": 1},
            }

    def test_it_survives_its_issuer(self, owner, fleet):
        staff = UserFactory.create()
        batch = batches.issue(
            fleet, command_name="a", payload={}, issued_by=staff, now=timezone.now()
        )
        staff.delete()
        batch.refresh_from_db()
        assert batch.issued_by is None
        assert batch.commands.count() == 3


@pytest.mark.django_db(transaction=True)
def test_what_happens_at_once_waits_in_no_circle():
    """Batches over the same devices in different orders, with everything else beside them."""
    fleet = DeviceFactory.create_batch(20, user=UserFactory.create())
    old = send_to_many(*fleet, now=NOW)
    loose = [CommandFactory.create(device=device, created_at=NOW) for device in fleet]

    def claim_all():
        return [command_services.claim(device, now=NOW) for device in reversed(fleet)]

    outcomes = at_once(
        lambda: send_to_many(*fleet, now=NOW),
        lambda: send_to_many(*reversed(fleet), now=NOW),
        lambda: batches.cancel(CommandBatch.objects.get(pk=old.pk), now=NOW),
        lambda: batches.cancel(CommandBatch.objects.get(pk=old.pk), now=NOW),
        lambda: command_services.expire_overdue(now=NOW + HOUR),
        lambda: [command_services.record_result(one, status="failed", now=NOW) for one in loose],
        claim_all,
        claim_all,
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
