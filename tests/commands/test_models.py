"""Constraints of the commands table."""

import pytest
from django.db import IntegrityError

from commands.models import Command
from tests.commands.steps import issue
from tests.factories import NOW


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
def test_the_database_rejects_an_inconsistent_command(device, fields, constraint):
    command = issue(device)
    with pytest.raises(IntegrityError, match=constraint):
        Command.objects.filter(pk=command.pk).update(**fields)
