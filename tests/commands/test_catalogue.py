from datetime import timedelta

import pytest
from django.db import IntegrityError

from commands import services as command_services
from commands.models import Command, CommandType
from common.strict_json import InvalidJSONValue
from tests.factories import NOW, CommandTypeFactory, DeviceFactory

SCHEMA = {
    "type": "object",
    "required": ["target"],
    "additionalProperties": False,
    "properties": {
        "target": {"type": "number", "minimum": 5, "maximum": 30},
        "rooms": {"type": "array", "items": {"$ref": "#/$defs/room"}},
    },
    "$defs": {"room": {"enum": ["north", "south"]}},
}


@pytest.fixture
def thermostat(db):
    CommandTypeFactory.create(command_name="set", payload_schema=SCHEMA)
    CommandTypeFactory.create(command_name="reboot")
    CommandTypeFactory.create(device_type="lamp", command_name="blink")
    return DeviceFactory.create(device_type="thermostat")


@pytest.mark.parametrize(
    ("name", "payload"),
    [("set", {"target": 20}), ("set", {"target": 5, "rooms": ["north"]}), ("reboot", {"any": [1]})],
)
def test_a_payload_that_matches_the_catalogue_is_accepted(thermostat, name, payload):
    command_services.validate_command(thermostat, name, payload)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, {("/payload/target", "required")}),
        ({"target": "20"}, {("/payload/target", "type")}),
        ({"target": 31}, {("/payload/target", "maximum")}),
        ({"target": 4, "rooms": ["north", "attic"]},
         {("/payload/target", "minimum"), ("/payload/rooms/1", "enum")}),
        ({"target": 20, "x": 1}, {("/payload/x", "additionalProperties")}),
    ],
)  # fmt: skip
def test_each_error_of_a_payload_has_a_pointer(thermostat, payload, expected):
    with pytest.raises(InvalidJSONValue) as caught:
        command_services.validate_command(thermostat, "set", payload)
    assert {(fault.pointer, fault.code) for fault in caught.value.faults} == expected


@pytest.mark.parametrize("name", ["blink", "Set", "", "sett"])
def test_a_command_that_is_not_in_the_catalogue_is_rejected(thermostat, name):
    with pytest.raises(InvalidJSONValue) as caught:
        command_services.validate_command(thermostat, name, {})
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/command_name", "unknown-command")
    assert "reboot, set" in fault.detail


def test_a_device_type_without_a_catalogue_accepts_any_command(thermostat):
    command_services.validate_command(
        DeviceFactory.create(device_type="pump"), "whatever", {"a": 1}
    )


def test_an_invalid_command_is_not_stored(thermostat):
    with pytest.raises(InvalidJSONValue):
        command_services.create_command(
            thermostat, command_name="set", payload={"target": 99}, issued_by=None, now=NOW
        )
    assert not Command.objects.exists()


def test_the_database_rejects_a_duplicate_command_type(db):
    CommandTypeFactory.create(command_name="set")
    with pytest.raises(IntegrityError, match="command_types_name_unique_per_type"):
        CommandTypeFactory.create(command_name="set")


def test_command_types_are_sorted_and_displayed_by_title(thermostat):
    assert [str(kind) for kind in CommandType.objects.all()] == [
        "lamp: Blink",
        "thermostat: Reboot",
        "thermostat: Set",
    ]


def test_a_broken_reference_in_a_stored_schema_is_a_validation_error(thermostat):
    broken = {"properties": {"target": {"$ref": "#/$defs/none"}}}
    CommandType.objects.filter(command_name="set").update(payload_schema=broken)
    with pytest.raises(InvalidJSONValue, match="An administrator can fix it"):
        command_services.validate_command(thermostat, "set", {"target": 5})


def test_the_lifetime_is_that_of_the_catalogue_unless_the_sender_sets_one(thermostat):
    CommandType.objects.filter(command_name="reboot").update(default_expiry=60)
    kwargs = {"command_name": "reboot", "payload": {}, "issued_by": None, "now": NOW}
    assert command_services.create_command(thermostat, **kwargs).expires_at == NOW + timedelta(
        seconds=60
    )
    chosen = command_services.create_command(thermostat, **kwargs, expires_in=timedelta(seconds=5))
    assert chosen.expires_at == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("seconds", [0, 30 * 86400 + 1])
def test_the_database_rejects_a_default_expiry_out_of_range(db, seconds):
    with pytest.raises(IntegrityError, match="command_types_default_expiry_in_range"):
        CommandTypeFactory.create(default_expiry=seconds)
