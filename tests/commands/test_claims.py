"""Claims: what is handed out, when and how often; of two at once neither waits for the other."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections

from commands import services as command_services
from commands.models import Command
from commands.services import LEASE, MAX_ATTEMPTS, Reason, Status
from tests.commands.steps import MICROSECOND, SECOND, claim, ending, issue
from tests.concurrency import at_once
from tests.factories import NOW, CommandFactory, DeviceFactory


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
        for attempt in range(MAX_ATTEMPTS):
            assert claim(device, now=NOW + attempt * LEASE) == [command]
            assert command_services.expire_overdue(now=NOW + attempt * LEASE) == 0
        end = NOW + MAX_ATTEMPTS * LEASE
        assert claim(device, now=end) == []
        assert command_services.expire_overdue(now=end) == 1
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
            command_services.record_result(
                issue(device, now=NOW + number * SECOND), status=end, now=NOW
            )
        command_services.cancel(issue(device), now=NOW)
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


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """The connection of another process."""
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("ROLLBACK")
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_command_that_somebody_is_claiming_is_passed_over(elsewhere: Any) -> None:
    device = DeviceFactory.create()
    taken, free = (CommandFactory.create(device=device, created_at=NOW) for _ in range(2))
    elsewhere.execute("SELECT FROM commands WHERE id = %s FOR NO KEY UPDATE", [taken.pk])
    with connection.cursor() as ours:
        # Who waits all the same fails soon.
        ours.execute("SET lock_timeout = 100")
        try:
            claimed = command_services.claim(device, now=NOW)
        finally:
            ours.execute("SET lock_timeout = 2000")
    assert claimed == [free]
    assert Command.objects.get(pk=taken.pk).attempts == 0
