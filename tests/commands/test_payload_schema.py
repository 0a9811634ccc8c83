import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import payload_schema
from tests.commands.test_catalogue import SCHEMA


def found(schema, payload):
    return [
        (fault.pointer, fault.code) for fault in payload_schema.validation_errors(schema, payload)
    ]


@pytest.mark.parametrize("schema", [{}, True, SCHEMA, {"enum": ["$ref"]}])
def test_a_schema_that_stands_by_itself_is_taken(schema):
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
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(payload_schema.InvalidSchema):
        payload_schema.check_schema(schema)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "https://example.org/s.json", "file:///etc/passwd", "x"]
)
@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize(
    "around",
    [
        lambda inner: inner,
        lambda inner: {"properties": {"a": inner}},
        lambda inner: {"allOf": [{}, {"not": inner}]},
    ],
)
def test_a_reference_to_anywhere_else_is_refused(target, word, around):
    with pytest.raises(payload_schema.InvalidSchema):
        payload_schema.check_schema(around({word: target}))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
        ({"properties": {"a": {"$id": "https://example.org/"}}}, r"\$id is not taken"),
        ({"properties": {"a": {"$anchor": "a"}}}, r"\$anchor is not taken"),
        ({"unevaluatedProperties": False}, "unevaluatedProperties is not taken"),
        ({"pattern": "a(?=b)"}, "cannot be used"),
        ({"pattern": r"(a)\1"}, "cannot be used"),
        ({"pattern": "["}, "cannot be used"),
        ({"pattern": "(?:a{999}){999}"}, "cannot be used"),
        ({"patternProperties": {"(": True}}, "cannot be used"),
        ({"properties": {"a": {"$ref": "#"}}}, "in a circle"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "in a circle"),
        ({"$ref": "#/x", "x": {"minimum": "5"}}, "not of type"),
        ({"$ref": "#/required/0", "required": ["a"]}, "leads nowhere"),
        ({"description": "x" * 33_000}, "Larger than"),
        ({"title": "\0"}, "NUL"),
        ({"default": float("nan")}, "not JSON"),
        ({"enum": list(range(2001))}, "More than 2000 values"),
        ({"anyOf": [{"type": "string"}] * 300}, "More than 300 schemas"),
    ],
)
def test_what_could_cost_too_much_or_means_nothing_here_is_refused(schema, words):
    with pytest.raises(payload_schema.InvalidSchema, match=words):
        payload_schema.check_schema(schema)


def test_references_that_double_at_each_step_are_counted_and_not_followed_to_the_end():
    doubling = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(60)}
    schema = {"$ref": "#/$defs/s0", "$defs": {**doubling, "s60": True}}
    with pytest.raises(payload_schema.InvalidSchema, match="More than 300 schemas"):
        payload_schema.check_schema(schema)


def test_deep_nesting_is_refused_and_breaks_nothing():
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
def test_what_only_looks_like_it_is_taken(schema):
    payload_schema.check_schema(schema)


def test_a_pattern_that_ruins_a_backtracking_engine_costs_nothing():
    # Python's own engine would need hours for this.
    payload = {"a": "a" * 5000 + "!"}
    assert found({"properties": {"a": {"pattern": "^(a+)+$"}}}, payload) == [
        ("/payload/a", "pattern")
    ]
    assert found({"patternProperties": {"^(a+)+$": False}}, {"a" * 100 + "!": 1}) == []
    closed = {"additionalProperties": False, "patternProperties": {"^(a+)+$": True}}
    key = "a" * 100 + "!"
    assert found(closed, {key: 1}) == [(f"/payload/{key}", "additionalProperties")]


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
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
def test_what_fits(schema, value, fits):
    assert (found({"properties": {"v": schema}}, {"v": value}) == []) is fits


def test_everything_that_is_missing_is_pointed_at_once():
    schema = {"required": ["a", "b", "c"], "properties": {"c": {"required": ["d/e"]}}}
    assert found(schema, {"b": 1}) == [("/payload/a", "required"), ("/payload/c", "required")]
    assert found(schema, {"a": 1, "b": 1, "c": {}}) == [("/payload/c/d~1e", "required")]


def test_each_fault_is_told_in_words():
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
        "a": "At most 3.",
        "b": "More than 3.",
        "c": 'One of "x", 1.',
        "d": "It must be of type string, null.",
        "e": "At least 2 characters.",
        "f": "It does not match the pattern ^x.",
        "g": "This is not known here.",
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
def test_no_schema_that_is_taken_fails_on_any_payload(schema, payload):
    try:
        payload_schema.check_schema(schema)
    except payload_schema.InvalidSchema:
        assert payload_schema.validation_errors(schema, payload)[0].code == payload_schema.BROKEN
        return
    for fault in payload_schema.validation_errors(schema, payload):
        assert re.match(r"/payload(/|$)", fault.pointer)
        json.dumps(fault)
