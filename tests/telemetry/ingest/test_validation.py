"""Validation of readings, and their ids."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common import timestamps
from telemetry.ingest import validation
from tests.factories import NOW

ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)
DEVICE = UUID("0190163d-8694-739b-aea5-966c26f8ad90")
EXAMPLES = json.loads(
    (Path(__file__).parent / "canonical_examples.json").read_text(encoding="utf-8")
)
"""Readings and the ids they got when the first of them was stored. Never change them: another id
would store a repeated reading as a new row. Only add examples.
"""


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_id_of_a_reading_never_changes(example):
    reading = validation.build_reading(
        UUID(example["device_id"]),
        example["telemetry_type"],
        example["payload"],
        timestamps.parse(example["recorded_at"]),
    )
    assert str(reading.id) == example["id"]


def parse(value=None, now=NOW, **fields):
    given = {
        "telemetry_type": "environment",
        "payload": {"temperature": 21.5},
        "recorded_at": "2025-06-15T11:00:00Z",
        **fields,
    }
    return validation.parse(given if value is None else value, device_id=DEVICE, now=now)


def faults(*args, **given):
    found = parse(*args, **given)
    assert isinstance(found, list), "a valid reading"
    return sorted((fault.pointer, fault.code) for fault in found)


def id_of(payload, device=DEVICE, kind="environment", recorded_at=NOW):
    return validation.build_reading(device, kind, payload, recorded_at).id


payloads = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e30, 1e30)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), payloads, min_size=1)


@given(objects)
def test_the_order_of_keys_does_not_change_the_id(payload):
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert id_of(turned(payload)) == id_of(payload)


@given(objects)
def test_the_format_of_an_equal_number_does_not_change_the_id(payload):
    def floats(value):
        if isinstance(value, dict):
            return {key: floats(item) for key, item in value.items()}
        if isinstance(value, list):
            return [floats(item) for item in value]
        return float(value) if type(value) is int else value

    assert id_of(floats(payload)) == id_of(payload)


@given(objects, objects)
def test_another_payload_has_another_id(one, other):
    def told_apart(value):
        # In Python True equals 1; in JSON it does not.
        return json.dumps(validation.canonicalize(value), sort_keys=True)

    assume(told_apart(one) != told_apart(other))
    assert id_of(one) != id_of(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"payload": {"temperature": 21.6}},
        {"payload": {"Temperature": 21.5}},
        {"payload": {"temperature": "21.5"}},
        {"payload": {"temperature": 21.5, "x": None}},
        {"payload": {"temperature": [21.5]}},
        {"device": UUID(int=DEVICE.int ^ 1)},
        {"kind": "Environment"},
        {"recorded_at": NOW + timedelta(microseconds=1)},
    ],
)
def test_any_difference_changes_the_id(changed):
    assert id_of(**{"payload": {"temperature": 21.5}, **changed}) != id_of({"temperature": 21.5})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": True}),
        ({"a": []}, {"a": {}}),
        ({"a": None}, {"a": ""}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"ä": 1}, {"a\u0308": 1}),
        ({"a": 9007199254740992}, {"a": 9007199254740991}),
    ],
)
def test_values_that_only_look_equal_have_different_ids(one, other):
    assert id_of(one) != id_of(other)


@given(objects, st.timedeltas(timedelta(0), timedelta(days=2_900_000)).map(ORIGIN.__add__))
def test_an_id_is_a_uuid_8_that_begins_with_the_milliseconds(payload, recorded_at):
    made = id_of(payload, recorded_at=recorded_at)
    assert made.version == 8
    assert made.variant == "specified in RFC 4122"
    milliseconds = (recorded_at - ORIGIN) // timedelta(milliseconds=1)
    assert int(made.hex[:12], 16) == milliseconds
    start, end = validation.time_span_of(made)
    assert start <= recorded_at < end
    assert end - start == timedelta(milliseconds=1)


def test_ids_sort_by_time():
    instants = [NOW + timedelta(milliseconds=step) for step in range(100)]
    assert [id_of({"a": 1}, recorded_at=at) for at in instants] == sorted(
        id_of({"a": 1}, recorded_at=at) for at in instants
    )


def test_a_valid_reading_is_parsed():
    reading = parse(recorded_at="2025-06-15T13:00:00.5+02:00", payload={"b": 1.0, "a": [None]})
    assert reading.telemetry_type == "environment"
    assert reading.recorded_at == datetime(2025, 6, 15, 11, 0, 0, 500_000, tzinfo=UTC)
    assert json.loads(reading.json) == reading.payload == {"b": 1, "a": [None]}
    assert reading.id == id_of({"b": 1, "a": [None]}, recorded_at=reading.recorded_at)


@pytest.mark.parametrize("fields", [{"recorded_at": None}, {}])
def test_a_reading_without_a_time_gets_the_time_of_the_server(fields):
    value = {"telemetry_type": "a", "payload": {"a": 1}, **fields}
    assert parse(value).recorded_at == NOW


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, [("/payload", "required"), ("/telemetry_type", "required")]),
        ([], [("", "not-an-object")]),
        ("reading", [("", "not-an-object")]),
        (None, [("", "not-an-object")]),
        (0, [("", "not-an-object")]),
    ],
)
def test_a_value_that_is_not_a_reading_is_reported_with_pointers(value, found):
    found_in = validation.parse(value, device_id=DEVICE, now=NOW)
    assert sorted((fault.pointer, fault.code) for fault in found_in) == found


@pytest.mark.parametrize(
    "kind", ["", "a" * 65, "a b", "a.b", "ä", "a\n", "a\0", None, 1, [], {}, "\ud800", "<b>"]
)
def test_an_invalid_type_is_rejected(kind):
    assert faults(telemetry_type=kind) == [("/telemetry_type", "invalid")]


@pytest.mark.parametrize("kind", ["a", "a" * 64, "A-Z_0-9", "-", "0"])
def test_letters_digits_dashes_and_underscores_are_valid_in_types(kind):
    assert parse(telemetry_type=kind).telemetry_type == kind


def test_all_errors_of_a_reading_are_reported_at_once():
    assert faults(telemetry_type=1, payload={"a": "\0"}, recorded_at="x", id=str(uuid4())) == [
        ("/id", "unknown-field"),
        ("/payload/a", "nul-character"),
        ("/recorded_at", "invalid-time"),
        ("/telemetry_type", "invalid"),
    ]


@pytest.mark.parametrize(
    ("recorded_at", "valid"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), True),
        (datetime(2000, 1, 1, tzinfo=UTC) - timedelta(microseconds=1), False),
        (datetime(1, 1, 1, tzinfo=UTC), False),
        (NOW + timedelta(hours=24), True),
        (NOW + timedelta(hours=24, microseconds=1), False),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), False),
    ],
)
def test_a_time_before_2000_or_more_than_a_day_ahead_is_rejected(recorded_at, valid):
    if valid:
        assert (
            parse(recorded_at=timestamps.format_timestamp(recorded_at)).recorded_at == recorded_at
        )
    else:
        assert faults(recorded_at=timestamps.format_timestamp(recorded_at)) == [
            ("/recorded_at", "time-out-of-range")
        ]


def test_an_error_about_a_time_contains_the_time_of_the_server():
    assert timestamps.format_timestamp(NOW) in parse(recorded_at="1970-01-01T00:00:00Z")[0].detail


def test_of_a_batch_the_valid_readings_are_parsed_and_the_others_reported():
    good = {"telemetry_type": "a", "payload": {"a": 1}, "recorded_at": "2025-06-15T11:00:00Z"}
    valid, rejected = validation.parse_all(
        [good, {**good, "payload": {}}, 7, good], device_id=DEVICE, now=NOW, at="/readings"
    )
    assert [reading.id for reading in valid] == [valid[0].id] * 2
    assert {index: [fault.pointer for fault in found] for index, found in rejected.items()} == {
        1: ["/readings/1/payload"],
        2: ["/readings/2"],
    }


def test_every_value_of_a_payload_has_a_path():
    payload = {"t": 1, "gps": {"lat": 2, "sats": [3, {"id": 4}]}, "none": None, "e": {}, "l": []}
    assert list(validation.iter_values(payload)) == [
        ("t", 1),
        ("gps.lat", 2),
        ("gps.sats.0", 3),
        ("gps.sats.1.id", 4),
        ("none", None),
        ("e", {}),
        ("l", []),
    ]


@pytest.mark.parametrize("value", [5.0, -0.0, 1.5, True, None, "1.0", {"a": [2.0]}])
def test_canonicalizing_twice_changes_nothing(value):
    once = validation.canonicalize(value)
    assert repr(validation.canonicalize(once)) == repr(once)
    assert once == value


def test_the_number_of_reported_errors_is_limited() -> None:
    faults = validation.parse({f"field{n}": n for n in range(1000)}, device_id=uuid4(), now=NOW)
    assert isinstance(faults, list)
    assert len(faults) == validation.MAX_ERRORS_PER_READING
