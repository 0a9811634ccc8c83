"""What a type of device can be asked to do, and whether a payload fits."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _

from commands import payload_schema
from commands.models import DEFAULT_TTL, CommandType
from common.strict_json import InvalidJSONValue, JSONError
from devices.models import Device


def for_device(device: Device) -> list[CommandType]:
    """What this device can be asked; empty means anything, as the payload is free."""
    return for_types([device.device_type])[device.device_type]


def for_types(device_types: Iterable[str]) -> dict[str, list[CommandType]]:
    """What each of these types can be asked."""
    known: dict[str, list[CommandType]] = {name: [] for name in device_types}
    for kind in CommandType.objects.filter(device_type__in=known):
        known[kind.device_type].append(kind)
    return known


def check(kinds: list[CommandType], command_name: str, payload: Any) -> timedelta:
    """Compare a command with the catalogue of a type; returns how long one waits by default.

    A type without a catalogue takes any command. Raises InvalidJSON with a pointer to each fault.
    """
    if not kinds:
        return timedelta(seconds=DEFAULT_TTL)
    known = {kind.command_name: kind for kind in kinds}
    if command_name not in known:
        detail = _("This type of device knows %(names)s.") % {"names": ", ".join(known)}
        raise InvalidJSONValue([JSONError("/command_name", "unknown-command", detail)])
    if found := payload_schema.validation_errors(known[command_name].payload_schema, payload):
        raise InvalidJSONValue(found)
    return timedelta(seconds=known[command_name].default_expiry)
