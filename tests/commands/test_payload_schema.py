import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import payload_schema
from tests.commands.test_catalogue import SCHEMA


def find_errors(schema, payload):
    return [
        (fault.pointer, fault.code) for fault in payload_schema.validation_errors(schema, payload)
    ]


@pytest.mark.parametrize("schema", [{}, True, SCHEMA, {"enum": ["$ref"]}])
def test_a_schema_without_external_references_is_accepted(schema):
    payload_schema.check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"minimum": "5"},
        {"required": "target"},
        {"pattern": 1},
        [],
        1,
        "{}",
        None,
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
    ],
)
def test_an_invalid_schema_is_rejected(schema):
    with pytest.raises(payload_schema.InvalidSchema):
        payload_schema.check_schema(schema)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "https://example.org/s.json", "file:///etc/passwd", "x"]
)
@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: inner,
        lambda inner: {"properties": {"a": inner}},
        lambda inner: {"allOf": [{}, {"not": inner}]},
    ],
)
def test_an_external_reference_is_rejected(target, word, wrap):
    with pytest.raises(payload_schema.InvalidSchema):
        payload_schema.check_schema(wrap({word: target}))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
        ({"properties": {"a": {"$id": "https://example.org/"}}}, r"\$id is not supported"),
        ({"properties": {"a": {"$anchor": "a"}}}, r"\$anchor is not supported"),
        ({"unevaluatedProperties": False}, "unevaluatedProperties is not supported"),
        ({"pattern": "a(?=b)"}, "is not valid"),
        ({"pattern": r"(a)\1"}, "is not valid"),
        ({"pattern": "["}, "is not valid"),
        ({"pattern": "(?:a{999}){999}"}, "is not valid"),
        ({"patternProperties": {"(": True}}, "is not valid"),
        ({"properties": {"a": {"$ref": "#"}}}, "is circular"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "is circular"),
        ({"$ref": "#/x", "x": {"minimum": "5"}}, "not of type"),
        ({"$ref": "#/required/0", "required": ["a"]}, "points to nothing"),
        ({"description": "x" * 33_000}, "Larger than"),
        ({"title": "\0"}, "NUL"),
        ({"default": float("nan")}, "not valid JSON"),
        ({"enum": list(range(2001))}, "More than 2000 values"),
        ({"anyOf": [{"type": "string"}] * 300}, "More than 300 subschemas"),
    ],
)
def test_an_unsupported_or_too_expensive_schema_is_rejected(schema, message):
    with pytest.raises(payload_schema.InvalidSchema, match=message):
        payload_schema.check_schema(schema)


def test_references_that_double_at_each_step_are_rejected_early():
    doubling = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(60)}
    schema = {"$ref": "#/$defs/s0", "$defs": {**doubling, "s60": True}}
    with pytest.raises(payload_schema.InvalidSchema, match="More than 300 subschemas"):
        payload_schema.check_schema(schema)


def test_a_deeply_nested_schema_is_rejected_without_a_recursion_error():
    schema = {}
    for _ in range(5000):
        schema = {"not": schema}
    with pytest.raises(payload_schema.InvalidSchema, match="Nested more than"):
        payload_schema.check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": payload_schema.DIALECT, "$id": "https://example.org/set"},
        {"properties": {"$ref": {"type": "string"}, "$id": True}},
        {"const": {"$ref": "https://example.org/"}},
        {"$defs": {"a/b": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}},
    ],
)
def test_keywords_in_names_and_constants_are_accepted(schema):
    payload_schema.check_schema(schema)


def test_a_pattern_with_catastrophic_backtracking_is_checked_in_linear_time():
    # The re module of Python would need hours for this (catastrophic backtracking).
    payload = {"a": "a" * 5000 + "!"}
    assert find_errors({"properties": {"a": {"pattern": "^(a+)+$"}}}, payload) == [
        ("/payload/a", "pattern")
    ]
    assert find_errors({"patternProperties": {"^(a+)+$": False}}, {"a" * 100 + "!": 1}) == []
    closed = {"additionalProperties": False, "patternProperties": {"^(a+)+$": True}}
    key = "a" * 100 + "!"
    assert find_errors(closed, {key: 1}) == [(f"/payload/{key}", "additionalProperties")]


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"multipleOf": 0.1}, 0.3, True),
        ({"multipleOf": 0.1}, 0.35, False),
        ({"multipleOf": 1e-300}, 1e30, True),
        ({"multipleOf": 2}, 3, False),
        ({"pattern": "^a$"}, "a\n", False),
        ({"pattern": "b"}, "abc", True),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, True, False),
        ({"const": 1}, True, False),
        ({"format": "date"}, "2026-02-30", False),
        ({"format": "date-time"}, "2026-02-03T04:05:06Z", True),
        ({"format": "date-time"}, "2026-02-03T04:05:06", False),
        ({"format": "ipv4"}, "1.2.3.4", True),
        ({"format": "made-up"}, "anything", True),
    ],
)
def test_a_value_is_validated_against_its_schema(schema, value, valid):
    assert (find_errors({"properties": {"v": schema}}, {"v": value}) == []) is valid


def test_every_missing_property_is_reported_once():
    schema = {"required": ["a", "b", "c"], "properties": {"c": {"required": ["d/e"]}}}
    assert find_errors(schema, {"b": 1}) == [("/payload/a", "required"), ("/payload/c", "required")]
    assert find_errors(schema, {"a": 1, "b": 1, "c": {}}) == [("/payload/c/d~1e", "required")]


def test_each_error_has_a_message():
    schema = {
        "properties": {
            "a": {"maximum": 3}, "b": {"exclusiveMinimum": 3}, "c": {"enum": ["x", 1]},
            "d": {"type": ["string", "null"]}, "e": {"minLength": 2}, "f": {"pattern": "^x"},
        },
        "additionalProperties": False,
    }  # fmt: skip
    payload = {"a": 4, "b": 3, "c": 2, "d": 1, "e": "x", "f": "y", "g": 1}
    assert {
        fault.pointer[9:]: fault.detail
        for fault in payload_schema.validation_errors(schema, payload)
    } == {
        "a": "Must be at most 3.",
        "b": "Must be greater than 3.",
        "c": 'Must be one of "x", 1.',
        "d": "Must be of type string, null.",
        "e": "At least 2 characters.",
        "f": "Does not match the pattern ^x.",
        "g": "Unknown field.",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYWORDS = st.dictionaries(
    st.sampled_from(
        ["$ref", "$defs", "type", "properties", "items", "required", "minimum", "pattern", "enum",
         "oneOf", "not", "if", "then", "multipleOf", "patternProperties", "additionalProperties",
         "prefixItems", "contains", "dependentRequired", "propertyNames", "format", "$id"]
    ),
    JSON | st.sampled_from(["#", "#/$defs/a", "string", "integer", "object", "^a"]),
    max_size=4,
)  # fmt: skip
SCHEMAS = st.recursive(
    KEYWORDS | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"properties": st.dictionaries(st.text(max_size=2), inner, max_size=2),
                      "$defs": st.fixed_dictionaries({"a": inner}), "items": inner,
                      "allOf": st.lists(inner, min_size=1, max_size=2), "not": inner},
    ),
    max_leaves=6,
)  # fmt: skip


@given(SCHEMAS, JSON)
def test_no_accepted_schema_raises_on_any_payload(schema, payload):
    try:
        payload_schema.check_schema(schema)
    except payload_schema.InvalidSchema:
        assert payload_schema.validation_errors(schema, payload)[0].code == payload_schema.BROKEN
        return
    for fault in payload_schema.validation_errors(schema, payload):
        assert re.match(r"/payload(/|$)", fault.pointer)
        json.dumps(fault)
