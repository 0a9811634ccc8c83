"""Commands are created, resent, and created once per idempotency key."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from commands import services as command_services
from commands.models import Command
from common.api import idempotency_keys
from common.strict_json import InvalidJSONValue
from tests.commands.steps import HOUR, MICROSECOND, SECOND, claim, issue, status_and_reason
from tests.concurrency import run_concurrently
from tests.factories import NOW, CommandFactory, CommandTypeFactory, DeviceFactory


class TestIssuing:
    def test_a_new_command_is_pending_for_an_hour(self, owner, device):
        issue(device, payload={"a": 1}, issued_by=owner)
        command = Command.objects.get()
        assert status_and_reason(command) == ("pending", "")
        assert (command.device, command.issued_by, command.payload) == (device, owner, {"a": 1})
        assert (command.created_at, command.expires_at) == (NOW, NOW + HOUR)
        assert (command.attempts, command.delivered_at, command.lease_until) == (0, None, None)

    @pytest.mark.parametrize("name", ["", "a b", "a\n", "ä", "x" * 65, "a/b", "<b>", "a\0"])
    def test_an_invalid_command_name_is_rejected(self, device, name):
        with pytest.raises(ValidationError) as caught:
            issue(device, command_name=name)
        assert list(caught.value.error_dict) == ["command_name"]

    @pytest.mark.parametrize("payload", [None, [], "x", {"a": "\0"}, {"a": "x" * 17_000}])
    def test_an_invalid_payload_is_rejected(self, device, payload):
        with pytest.raises(InvalidJSONValue) as caught:
            issue(device, payload=payload)
        assert caught.value.faults[0].pointer.startswith("/payload")

    def test_the_fifty_first_pending_command_is_rejected(self, device):
        for _ in range(50):
            issue(device)
        with pytest.raises(command_services.QueueFull):
            issue(device)
        issue(DeviceFactory.create())

    def test_finished_and_expired_commands_do_not_count(self, device):
        commands = [issue(device) for _ in range(50)]
        command_services.cancel(commands[0], now=NOW)
        issue(device)
        with pytest.raises(command_services.QueueFull):
            issue(device, now=NOW + HOUR - MICROSECOND)
        issue(device, now=NOW + HOUR)

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_commands_do_not_exceed_the_limit(self):
        device = DeviceFactory.create()
        CommandFactory.create_batch(45, device=device, created_at=NOW)
        outcomes = run_concurrently(*[lambda: issue(device)] * 12)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds.count(Command) == 5
        assert kinds.count(command_services.QueueFull) == 7
        assert device.commands.count() == 50


class TestResending:
    def test_a_resent_command_is_new_and_refers_to_the_old(self, owner, device):
        old = issue(device, payload={"a": 1}, expires_in=5 * SECOND)
        new = command_services.resend(old, issued_by=owner, now=NOW + HOUR)
        assert new.pk != old.pk
        assert (new.command_name, new.payload, new.retry_of) == ("reboot", {"a": 1}, old)
        assert (new.issued_by, new.expires_at) == (owner, NOW + HOUR + 5 * SECOND)
        assert status_and_reason(new) == ("pending", "")

    def test_a_pending_command_is_not_resent(self, device):
        command = issue(device)
        with pytest.raises(command_services.StillPending):
            command_services.resend(command, issued_by=None, now=NOW)
        assert device.commands.count() == 1

    def test_a_resent_command_is_validated_against_the_current_catalogue(self, device):
        old = command_services.cancel(issue(device), now=NOW)
        CommandTypeFactory.create(device_type=device.device_type, command_name="other")
        with pytest.raises(InvalidJSONValue):
            command_services.resend(old, issued_by=None, now=NOW)

    def test_a_resent_command_stays_when_the_old_one_is_deleted(self, device):
        old = command_services.cancel(issue(device), now=NOW)
        new = command_services.resend(old, issued_by=None, now=NOW)
        old.delete()
        new.refresh_from_db()
        assert new.retry_of is None


class TestIdempotency:
    def test_the_same_key_returns_the_same_command(self, owner, device):
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
    def test_the_same_key_with_another_body_is_rejected(self, owner, device, other):
        kwargs = {"issued_by": owner, "idempotency_key": "k"}
        issue(device, payload={"a": 1, "b": 0}, **kwargs)
        with pytest.raises(idempotency_keys.IdempotencyKeyReused):
            issue(device, **{"payload": {"a": 1, "b": 0}, **kwargs, **other})
        assert device.commands.count() == 1

    def test_another_order_of_json_keys_is_the_same_body(self, owner, device):
        kwargs = {"issued_by": owner, "idempotency_key": "k"}
        issue(device, payload={"a": 1, "b": 0}, **kwargs)
        issue(device, payload={"b": 0, "a": 1}, **kwargs)
        assert device.commands.count() == 1

    def test_a_key_is_unique_per_issuer_and_device(self, owner, stranger, device):
        other = DeviceFactory.create(user=owner)
        for target, sender in ((device, owner), (device, stranger), (other, owner)):
            issue(target, issued_by=sender, idempotency_key="k")
        assert Command.objects.count() == 3

    def test_a_known_key_returns_its_command_despite_a_full_queue_or_a_new_catalogue(
        self, owner, device, settings
    ):
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        first = issue(device, issued_by=owner, idempotency_key="k")
        CommandTypeFactory.create(device_type=device.device_type, command_name="other")
        assert issue(device, issued_by=owner, idempotency_key="k") == first

    @pytest.mark.parametrize("key", ["a\n", "ä", "x" * 256])
    def test_an_invalid_key_is_rejected(self, owner, device, key):
        with pytest.raises(idempotency_keys.InvalidIdempotencyKey):
            issue(device, issued_by=owner, idempotency_key=key)

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_requests_with_the_same_key_create_one_command(self):
        device = DeviceFactory.create()
        kwargs = {"issued_by": device.user, "idempotency_key": "k"}
        outcomes = run_concurrently(*[lambda: issue(device, **kwargs)] * 8)
        assert {outcome.pk for outcome in outcomes} == {Command.objects.get().pk}

    def test_the_database_rejects_a_duplicate_key(self, owner, device):
        CommandFactory.create(device=device, issued_by=owner, idempotency_key="k")
        with pytest.raises(IntegrityError, match="commands_idempotency_key_unique"):
            CommandFactory.create(device=device, issued_by=owner, idempotency_key="k")
