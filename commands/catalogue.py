"""The catalogue of command types, and the validation of commands against it."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _

from commands import payload_schema
from commands.models import DEFAULT_TTL, CommandType
from common.strict_json import InvalidJSONValue, JSONError
from devices.models import Device


def for_device(device: Device) -> list[CommandType]:
    """Return the command types of this device. If there are none, it accepts any command."""
    return for_types([device.device_type])[device.device_type]


def for_types(device_types: Iterable[str]) -> dict[str, list[CommandType]]:
    """Return the command types of each of these device types."""
    found: dict[str, list[CommandType]] = {name: [] for name in device_types}
    for command_type in CommandType.objects.filter(device_type__in=found):
        found[command_type.device_type].append(command_type)
    return found


def check(command_types: list[CommandType], command_name: str, payload: Any) -> timedelta:
    """Validate a command against the command types of a device, and return the default expiry.

    A device without command types accepts any command. Raises InvalidJSONValue with a pointer to
    each error.
    """
    if not command_types:
        return timedelta(seconds=DEFAULT_TTL)
    known = {command_type.command_name: command_type for command_type in command_types}
    if command_name not in known:
        detail = _("This device type accepts the commands %(names)s.") % {"names": ", ".join(known)}
        raise InvalidJSONValue([JSONError("/command_name", "unknown-command", detail)])
    if errors := payload_schema.validation_errors(known[command_name].payload_schema, payload):
        raise InvalidJSONValue(errors)
    return timedelta(seconds=known[command_name].default_expiry)
