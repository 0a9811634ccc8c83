"""Forms built from a payload schema: fields, payloads and errors."""

import json
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import timezone
from hypothesis import assume, given
from hypothesis import strategies as st

from commands import payload_schema
from commands.payload_form import FieldNode, PayloadForm, build_tree

THERMOSTAT = {
    "type": "object",
    "required": ["target", "mode", "heat"],
    "additionalProperties": False,
    "properties": {
        "target": {"title": "Target", "type": "number", "minimum": 5, "maximum": 30,
                   "multipleOf": 0.5, "default": 20, "description": "In °C."},
        "mode": {"enum": ["auto", "off", 1, None]},
        "heat": {"type": "boolean"},
        "boost": {"type": "boolean"},
        "fan": {"oneOf": [{"const": 0, "title": "Still"}, {"const": 9, "title": "Storm"}]},
        "label": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^[a-z]+$"},
        "day": {"type": "string", "format": "date"},
        "until": {"type": "string", "format": "date-time"},
        "rooms": {"type": "array", "items": {"$ref": "#/$defs/room"}},
        "place": {
            "type": "object",
            "title": "Place",
            "required": ["x"],
            "properties": {"x": {"type": "integer"}, "y/z": {"type": "integer"}},
        },
    },
    "$defs": {"room": {"enum": ["north", "south"]}},
}  # fmt: skip
GOOD = {"payload/target": "21.5", "payload/mode": '"auto"'}


def bind_form(schema: Any, form_data: dict[str, str]) -> PayloadForm:
    data = QueryDict(mutable=True)
    data.update(form_data)
    return PayloadForm(schema, data)


def payload(form_data: dict[str, str], schema: Any = THERMOSTAT) -> Any:
    form = bind_form(schema, form_data)
    assert form.is_valid(), form.errors
    assert payload_schema.validation_errors(schema, form.payload) == []
    return form.payload


def errors(form_data: dict[str, str], schema: Any = THERMOSTAT) -> dict[str, list[str]]:
    return {name: list(found) for name, found in bind_form(schema, form_data).errors.items()}


def test_an_empty_field_is_omitted_and_an_unchecked_box_is_false() -> None:
    assert payload(GOOD) == {"target": 21.5, "mode": "auto", "heat": False}


@pytest.mark.parametrize(
    ("name", "form_data", "key", "value"),
    [
        ("target", " 30 ", "target", 30),
        ("mode", "null", "mode", None),
        ("mode", "1", "mode", 1),
        ("heat", "on", "heat", True),
        ("boost", "false", "boost", False),
        ("boost", "true", "boost", True),
        ("fan", "9", "fan", 9),
        ("label", "abc", "label", "abc"),
        ("day", "2026-02-28", "day", "2026-02-28"),
        ("rooms", '["north", "south"]', "rooms", ["north", "south"]),
        ("place/x", "3", "place", {"x": 3}),
    ],
)
def test_each_field_type_returns_a_value_of_its_type(
    name: str, form_data: str, key: str, value: object
) -> None:
    found = payload({**GOOD, f"payload/{name}": form_data})[key]
    assert (type(found), found) == (type(value), value)


def test_a_date_time_is_read_in_the_users_time_zone() -> None:
    with timezone.override("Europe/Berlin"):
        found = payload({**GOOD, "payload/until": "2026-07-01T12:00"})
    assert found["until"] == "2026-07-01T12:00:00+02:00"


def test_keys_with_special_characters_have_fields() -> None:
    form_data = {**GOOD, "payload/place/x": "1", "payload/place/y~1z": "2"}
    assert payload(form_data)["place"] == {"x": 1, "y/z": 2}
    schema = {"properties": {'a b"<é': {"type": "integer"}}}
    (field,) = build_tree(schema).items  # type: ignore[union-attr]
    assert isinstance(field, FieldNode)
    assert field.name == "payload/a%20b%22%3C%C3%A9"
    assert payload({field.name: "1"}, schema) == {'a b"<é': 1}


@pytest.mark.parametrize(
    ("name", "form_data", "message"),
    [
        ("target", "", "This field is required."),
        ("target", "31", "Must be at most 30."),
        ("target", "20.3", "Must be a multiple of 0.5."),
        ("target", "warm", "Enter a number."),
        ("target", "1" * 60, "Enter a number."),
        ("target", "1e999", "NaN, Infinity"),
        ("target", "\u0663", "Enter a number."),
        ("mode", '"made up"', "Choose one of these."),
        ("mode", "", "This field is required."),
        ("fan", "1", "Choose one of these."),
        ("label", "a", "At least 2 characters."),
        ("label", "ABC", "Does not match"),
        ("label", "a\0b", "A NUL character"),
        ("day", "2026-02-30", "Not a valid date."),
        ("until", "soon", "Enter a date and a time"),
        ("until", "9999-12-31T23:59:59+00:00:01", "Not a valid date-time."),
        ("rooms", '["attic"]', "At /0: Must be one of"),
        ("rooms", "north", "Invalid JSON"),
        ("rooms", "[1e400]", "At /0: NaN"),
        ("place/y~1z", "2", None),
    ],
)
def test_an_invalid_value_is_reported_at_its_field(
    name: str, form_data: str, message: str | None
) -> None:
    found = errors({**GOOD, f"payload/{name}": form_data})
    if message is None:
        assert found == {"payload/place/x": ["This field is required."]}
    else:
        assert list(found) == [f"payload/{name}"]
        assert found[f"payload/{name}"][0].startswith(message)


def test_an_error_of_the_whole_object_is_a_form_error() -> None:
    schema = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
              "dependentRequired": {"a": ["b"]}}  # fmt: skip
    assert list(errors({"payload/a": "1"}, schema)) == ["__all__"]


def test_fields_have_html_attributes_for_their_limits() -> None:
    form = PayloadForm(THERMOSTAT)
    shown = str(form["payload/target"])
    for attribute in ('type="number"', 'min="5"', 'max="30"', 'step="0.5"', 'value="20"'):
        assert attribute in shown
    assert "required" in shown
    assert form["payload/target"].label == "Target"
    assert form["payload/target"].help_text == "In °C."
    assert 'maxlength="8"' in str(form["payload/label"])
    assert 'type="date"' in str(form["payload/day"])
    assert 'type="datetime-local"' in str(form["payload/until"])
    assert "<textarea" in str(form["payload/rooms"])
    assert "pattern" not in str(form["payload/label"])


@pytest.mark.parametrize(
    ("schema", "attributes"),
    [
        ({"type": "integer"}, 'step="1"'),
        ({"type": "number"}, 'step="any"'),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 9}, 'min="4" max="8"'),
        ({"type": "integer", "minimum": 2.5}, 'min="3"'),
        ({"type": "integer", "multipleOf": 5, "minimum": 3}, 'min="5" step="5"'),
    ],
)
def test_the_limits_of_numbers_are_html_attributes(schema: Any, attributes: str) -> None:
    assert attributes in str(PayloadForm({"properties": {"n": schema}})["payload/n"])


@pytest.mark.parametrize(
    "schema",
    [{}, True, {"type": "object"}, {"oneOf": [{"required": ["a"]}]}, {"properties": {}},
     {"properties": {"a": {}}, "required": ["b"]}],
)  # fmt: skip
def test_a_schema_without_fields_has_one_json_field(schema: Any) -> None:
    assert list(PayloadForm(schema).fields) == ["payload"]


def test_a_schema_without_properties_has_no_fields() -> None:
    schema = {"type": "object", "additionalProperties": False}
    assert list(PayloadForm(schema).fields) == []
    assert payload({}, schema) == {}


def test_the_only_option_of_a_required_field_is_selected() -> None:
    schema = {"required": ["a"], "properties": {"a": {"const": "x"}}}
    assert '<option value="&quot;x&quot;" selected>x</option>' in str(
        PayloadForm(schema)["payload/a"]
    )


LEAVES = st.sampled_from(
    [
        {"type": "integer", "minimum": -3, "maximum": 3}, {"type": "number", "multipleOf": 0.1},
        {"type": "boolean"}, {"enum": [1, "1", True, None]}, {"const": {"a": 1}},
        {"type": "string", "maxLength": 3}, {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"}, {"type": "array", "items": {"type": "integer"}},
        {"$ref": "#/$defs/size"}, {"type": ["string", "null"]}, {}, True, False,
    ]
)  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["a", "b", "c/d", "e~", "ü %"])
    return st.builds(
        lambda properties, needed, closed: {
            "type": "object",
            "properties": properties,
            "required": [key for key in properties if key in needed],
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys),
        st.booleans(),
    )


SCHEMAS = objects(st.recursive(LEAVES, objects, max_leaves=6))
TYPED = st.sampled_from(
    ["", "0", "2", "-1.3", "0.3", "x", "true", "null", '"1"', "[1]", "[", "{}", '{"a": 1}',
     "2026-01-31", "2026-01-31T10:00", "on", "\0", "1e400", "ab\r\nc"]
) | st.text(max_size=5)  # fmt: skip


@given(SCHEMAS, st.data())
def test_any_input_is_a_valid_payload_or_an_error_at_a_field(
    schema: Any, data: st.DataObject
) -> None:
    schema = {**schema, "$defs": {"size": {"enum": ["s", "m"]}}}
    payload_schema.check_schema(schema)
    names = list(PayloadForm(schema).fields)
    assume(names)
    form_data = {name: data.draw(TYPED, label=name) for name in names}
    form = bind_form(schema, form_data)
    if form.is_valid():
        json.dumps(form.payload, allow_nan=False)
        assert payload_schema.validation_errors(schema, form.payload) == []
        return
    for name, found in form.errors.items():
        # Only an error of a whole object has no field.
        assert name in names or any(of in str(found) for of in ("At /payload", "type object"))
    str(form)
