"""Claims: which commands a poll gets, when and how often; concurrent polls do not block."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections

from commands import services as command_services
from commands.models import Command
from commands.services import LEASE, MAX_ATTEMPTS, Reason, Status
from tests.commands.steps import MICROSECOND, SECOND, claim, issue, status_and_reason
from tests.concurrency import run_concurrently
from tests.factories import NOW, CommandFactory, DeviceFactory


class TestClaiming:
    def test_the_oldest_commands_are_claimed_first(self, device):
        late = issue(device, now=NOW + SECOND)
        early = issue(device, now=NOW)
        assert claim(device, now=NOW + 2 * SECOND) == [early, late]

    def test_a_claim_takes_at_most_its_limit(self, device):
        commands = [issue(device, now=NOW + number * SECOND) for number in range(3)]
        later = NOW + 5 * SECOND
        assert claim(device, now=later, limit=2) == commands[:2]
        assert claim(device, now=later, limit=2) == commands[2:]
        assert claim(device, now=later) == []

    def test_a_claimed_command_has_a_lease_of_a_minute(self, device):
        issue(device)
        (command,) = claim(device)
        assert (command.attempts, command.delivered_at) == (1, NOW)
        assert command.lease_until == NOW + timedelta(seconds=60)
        assert status_and_reason(command) == ("pending", "")
        assert claim(device, now=NOW + LEASE - MICROSECOND) == []

    def test_a_command_is_claimed_again_after_its_lease(self, device):
        issue(device)
        claim(device)
        (again,) = claim(device, now=NOW + LEASE)
        assert again.attempts == 2
        assert again.delivered_at == NOW
        assert again.lease_until == NOW + 2 * LEASE

    def test_a_leased_command_does_not_delay_the_others(self, device):
        issue(device)
        claim(device)
        other = issue(device, now=NOW + SECOND)
        assert claim(device, now=NOW + SECOND) == [other]

    def test_a_command_fails_after_ten_attempts(self, device):
        command = issue(device, expires_in=timedelta(days=1))
        for attempt in range(MAX_ATTEMPTS):
            assert claim(device, now=NOW + attempt * LEASE) == [command]
            assert command_services.expire_overdue(now=NOW + attempt * LEASE) == 0
        end = NOW + MAX_ATTEMPTS * LEASE
        assert claim(device, now=end) == []
        assert command_services.expire_overdue(now=end) == 1
        assert status_and_reason(command) == (Status.FAILED, Reason.ATTEMPTS)

    def test_an_expired_command_is_not_claimed(self, device):
        issue(device, expires_in=SECOND)
        assert claim(device, now=NOW + SECOND) == []
        assert len(claim(device, now=NOW + SECOND - MICROSECOND)) == 1

    def test_a_device_does_not_get_commands_of_another_device(self, device):
        issue(DeviceFactory.create())
        assert claim(device) == []

    def test_a_finished_command_is_not_claimed(self, device):
        for number, end in enumerate((Status.EXECUTED, Status.FAILED)):
            command_services.record_result(
                issue(device, now=NOW + number * SECOND), status=end, now=NOW
            )
        command_services.cancel(issue(device), now=NOW)
        assert claim(device, now=NOW + LEASE) == []

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_claims_never_get_the_same_command(self):
        device = DeviceFactory.create()
        commands = CommandFactory.create_batch(50, device=device, created_at=NOW)
        outcomes = run_concurrently(*[lambda: claim(device, limit=5)] * 10)
        handed_out = [command.pk for outcome in outcomes for command in outcome]
        assert len(handed_out) == len(set(handed_out))
        # A poll skips rows that another poll has locked. The next poll gets them.
        handed_out += [command.pk for command in claim(device)]
        assert sorted(handed_out) == sorted(command.pk for command in commands)
        assert set(device.commands.values_list("attempts", flat=True)) == {1}

    def test_claiming_fifty_commands_takes_as_many_queries_as_one(
        self, device, django_assert_num_queries
    ):
        for count in (1, 49):
            CommandFactory.create_batch(count, device=device, created_at=NOW)
            # Select, update, read, and two for the savepoint of the transaction.
            with django_assert_num_queries(3 + 2):
                assert len(claim(device)) == count


@pytest.fixture
def other_cursor() -> Iterator[Any]:
    """A cursor with an open transaction on another connection."""
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("ROLLBACK")
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_locked_command_is_skipped(other_cursor: Any) -> None:
    device = DeviceFactory.create()
    locked, free = (CommandFactory.create(device=device, created_at=NOW) for _ in range(2))
    other_cursor.execute("SELECT FROM commands WHERE id = %s FOR NO KEY UPDATE", [locked.pk])
    with connection.cursor() as cursor_of_test:
        # A claim that waits for the lock fails after 100 ms.
        cursor_of_test.execute("SET lock_timeout = 100")
        try:
            claimed = command_services.claim(device, now=NOW)
        finally:
            cursor_of_test.execute("SET lock_timeout = 2000")
    assert claimed == [free]
    assert Command.objects.get(pk=locked.pk).attempts == 0
