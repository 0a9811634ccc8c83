"""What a type of device can be asked to do, and whether a payload fits."""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from commands.models import CommandType
from devices.free_json import Fault, InvalidJSON, pointer
from devices.models import Device

BROKEN = "broken-schema"


class InvalidSchema(ValueError):
    """Not a JSON Schema that can be used here."""


def for_device(device: Device) -> list[CommandType]:
    """What this device can be asked; empty means anything, as the payload is free."""
    return list(CommandType.objects.filter(device_type=device.device_type))


def check(device: Device, command_name: str, payload: Any) -> None:
    """Compare a command with the catalogue of the device's type.

    A type without a catalogue takes any command. Raises InvalidJSON with a pointer to each fault.
    """
    known = {kind.command_name: kind for kind in for_device(device)}
    if not known:
        return
    if command_name not in known:
        detail = f"This type of device knows {', '.join(known)}."
        raise InvalidJSON([Fault("/command_name", "unknown-command", detail)])
    if faults := _faults(known[command_name].payload_schema, payload):
        raise InvalidJSON(faults)


def check_schema(schema: Any) -> None:
    """Raises InvalidSchema for what is no JSON Schema or refers outside itself."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidSchema(error.message[:500]) from None
    if any(not target.startswith("#") for target in _references(schema)):
        raise InvalidSchema("A $ref may only point into the schema itself (#/…).")
    if any(fault.code == BROKEN for fault in _faults(schema, {})):
        raise InvalidSchema("A $ref leads nowhere, or in a circle.")


def _faults(schema: Any, payload: Any) -> list[Fault]:
    try:
        return [
            Fault(
                pointer("payload", *error.absolute_path), str(error.validator), error.message[:500]
            )
            for error in Draft202012Validator(schema).iter_errors(payload)
        ]
    except (Unresolvable, RecursionError):
        # A branch that no empty payload reaches when the schema is saved.
        detail = "The catalogue's schema for this command is broken; staff can mend it."
        return [Fault("/payload", BROKEN, detail)]


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [str(target) for key, target in schema.items() if key in ("$ref", "$dynamicRef")]
        return own + [target for inner in schema.values() for target in _references(inner)]
    if isinstance(schema, list):
        return [target for inner in schema for target in _references(inner)]
    return []
