"""Single steps in the lifecycle of a command, at NOW by default."""

from datetime import timedelta

from commands import services as command_services
from tests.factories import NOW

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


def issue(device, now=NOW, **fields):
    kwargs = {"command_name": "reboot", "payload": {}, "issued_by": None, **fields}
    return command_services.create_command(device, now=now, **kwargs)


def claim(device, now=NOW, **fields):
    return command_services.claim(device, now=now, **fields)


def status_and_reason(command):
    command.refresh_from_db()
    return command.status, command.reason
