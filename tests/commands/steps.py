"""Single steps in the life of a command, at NOW where nothing else is said."""

from datetime import timedelta

from commands import services as command_services
from tests.factories import NOW

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


def issue(device, now=NOW, **given):
    asked = {"command_name": "reboot", "payload": {}, "issued_by": None, **given}
    return command_services.create_command(device, now=now, **asked)


def claim(device, now=NOW, **given):
    return command_services.claim(device, now=now, **given)


def ending(command):
    command.refresh_from_db()
    return command.status, command.reason
