"""Concurrent polls, and a process that is killed after it has claimed a command.

POLLER_REPEATS sets how often the first test runs.
"""

import os
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction

from commands import services as command_services
from commands.models import Command
from commands.services import LEASE, MAX_ATTEMPTS
from devices.models import Device
from tests.concurrency import run_concurrently
from tests.factories import NOW, CommandFactory, DeviceFactory

REPEATS = int(os.environ.get("POLLER_REPEATS", "1"))
POLLER = """
import sys, time
from datetime import datetime
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.db import transaction
from commands import services as command_services
from devices.models import Device
def claim():
    device = Device.objects.get(pk=sys.argv[2])
    print(len(command_services.claim(device, now=datetime.fromisoformat(sys.argv[3]))), flush=True)
if sys.argv[4] == "committed":
    claim()
    time.sleep(600)
else:
    with transaction.atomic():
        claim()
        time.sleep(600)
"""

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_twenty_pollers_get_each_of_a_thousand_commands_once_within_its_lease(repeat: int) -> None:
    devices = DeviceFactory.create_batch(4)
    commands = Command.objects.bulk_create(
        CommandFactory.build(device=devices[number % 4], created_at=NOW) for number in range(1000)
    )

    def poll(first: int) -> list[Command]:
        """Claim until no command is left, starting with another device each."""
        got: list[Command] = []
        for number in range(4):
            device = devices[(first + number) % 4]
            while claimed := command_services.claim(device, now=NOW, limit=9):
                got += claimed
        return got

    outcomes = run_concurrently(*[lambda first=first: poll(first) for first in range(20)])
    handed_out = [command.pk for outcome in outcomes for command in outcome]
    # A poll skips rows that another poll has locked. The next poll gets them.
    handed_out += [
        command.pk for device in devices for command in command_services.claim(device, now=NOW)
    ]
    assert len(handed_out) == len(set(handed_out))
    assert set(handed_out) == {command.pk for command in commands}
    assert set(Command.objects.values_list("attempts", flat=True)) == {1}
    assert sum(bool(outcome) for outcome in outcomes) > 1


def run_and_kill_poller(device: Device, now: datetime, *, mode: str) -> None:
    """Run a process that claims the device's command, and kill it before it sends a result."""
    name = connection.settings_dict["NAME"]
    process = subprocess.Popen(
        [sys.executable, "-c", POLLER, str(name), str(device.pk), now.isoformat(), mode],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "telemetry_site.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process.stdout as output:
        assert output.readline() == "1\n"
        if mode == "uncommitted":
            assert command_services.claim(device, now=now) == []
        process.kill()
    process.wait()


def test_the_command_of_a_killed_poller_is_claimed_again_after_the_lease() -> None:
    command = CommandFactory.create(created_at=NOW)
    run_and_kill_poller(command.device, NOW, mode="committed")
    assert command_services.claim(command.device, now=NOW + LEASE - timedelta(microseconds=1)) == []
    (again,) = command_services.claim(command.device, now=NOW + LEASE)
    assert (again, again.attempts) == (command, 2)


def test_the_command_of_a_poller_killed_before_its_commit_is_claimed_again_at_once() -> None:
    command = CommandFactory.create(created_at=NOW)
    run_and_kill_poller(command.device, NOW, mode="uncommitted")
    with transaction.atomic():
        # Waits until PostgreSQL has ended the transaction of the killed process.
        Command.objects.select_for_update().get(pk=command.pk)
    (again,) = command_services.claim(command.device, now=NOW)
    assert (again, again.attempts) == (command, 1)


def test_a_command_without_results_fails_after_ten_attempts() -> None:
    command = CommandFactory.create(created_at=NOW, expires_at=NOW + timedelta(days=1))
    for number in range(MAX_ATTEMPTS):
        assert command_services.claim(command.device, now=NOW + number * LEASE) == [command]
    end = NOW + MAX_ATTEMPTS * LEASE
    assert command_services.claim(command.device, now=end) == []
    shown = Command.objects.get().as_of(end)
    assert (shown.status, shown.reason, shown.attempts) == ("failed", "attempts", 10)
