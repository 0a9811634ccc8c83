import json
import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import strict_json
from common.strict_json import (
    InvalidJSONValue,
    JSONError,
    JSONSyntaxError,
    decode,
    json_pointer,
    validate,
    validate_object,
)


def codes(raw):
    return [(fault.pointer, fault.code) for fault in validate(decode(raw))]


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (rb'{"a":"\u0000"}', [("/a", "nul-character")]),
        (rb'{"a\u0000b":1}', [("/a\\u0000b", "nul-character")]),
        (rb'{"a":"\ud800"}', [("/a", "lone-surrogate")]),
        (rb'{"a":"\udc00\ud800"}', [("/a", "lone-surrogate")]),
        (rb'{"\ud800":1}', [("/\\ud800", "lone-surrogate")]),
        (rb'["\ud83d\ude00", "\ud83d"]', [("/1", "lone-surrogate")]),
        (b'{"a":NaN}', [("/a", "not-a-number")]),
        (b'{"a":[0,Infinity]}', [("/a/1", "not-a-number")]),
        (b'{"a":-Infinity}', [("/a", "not-a-number")]),
        (b'{"a":1e400}', [("/a", "not-a-number")]),
        (b'{"a":-1e400}', [("/a", "not-a-number")]),
        (b'{"a":1e131071}', [("/a", "not-a-number")]),
        (b'{"a":1e31}', [("/a", "number-too-large")]),
        (b'{"a":-1.1e30}', [("/a", "number-too-large")]),
        (b'{"a":9007199254740993}', [("/a", "number-too-large")]),
        (b'{"a":-9007199254740993}', [("/a", "number-too-large")]),
        (b'{"a":18446744073709551616}', [("/a", "number-too-large")]),
        (b'{"a":' + b"9" * 39 + b"}", [("/a", "number-too-large")]),
        (b'{"a":' + b"9" * 5000 + b"}", [("/a", "not-a-number")]),
        (b'{"a":1,"a":2}', [("", "duplicate-key")]),
        (b'{"a":1,"a":1}', [("", "duplicate-key")]),
        (b'{"a":1,"\\u0061":1}', [("", "duplicate-key")]),
        (b'{"x":[{"a" :1,"a"\n:2}]}', [("/x/0", "duplicate-key")]),
        (b'{"a":"\\":","a":2}', [("", "duplicate-key")]),
        (b'{"' + b"k" * 129 + b'":1}', [("/" + "k" * 128, "key-too-long")]),
        (nested(17), [("", "too-deep")]),
        (b"[" * 17 + b"]" * 17, [("", "too-deep")]),
        (json.dumps(list(range(257))).encode(), [("", "too-many-values")]),
        (rb'{"a/b":{"c~d":"\u0000"}}', [("/a~1b/c~0d", "nul-character")]),
        (b'{"a":NaN,"b":[1e31,"\\u0000"]}',
         [("/a", "not-a-number"), ("/b/0", "number-too-large"), ("/b/1", "nul-character")]),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_stored_is_reported_with_its_pointer(raw, found):
    assert codes(raw) == found


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b"null",
        b'""',
        b'{"a":9007199254740992,"b":-9007199254740992}',
        b'{"a":1e30,"b":-1e30,"c":5e-324,"d":1e-400}',
        b'{"":1}',
        b'{"' + b"k" * 128 + b'":1}',
        b'{"a":"\\ud83d\\ude00","b":"\xf0\x9f\x98\x80","c":"\x7f\\u001f"}',
        b'{"a":"\\":1, \\"a\\":","b":"a\\":"}',
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        b' \t\r\n{"a" \t\r\n: 1 } ',
        nested(16),
        json.dumps(list(range(256))).encode(),
    ],
)
def test_a_storable_value_has_no_errors(raw):
    assert codes(raw) == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "at byte 0"),
        (b"   ", "at byte"),
        (b"{", "at byte 1"),
        (b'{"a":1,}', "at byte"),
        (b"{'a':1}", "at byte 1"),
        (b'{"a":1} x', "at byte 8"),
        (b'{"a":01}', "at byte"),
        (b'{"a":+1}', "at byte 5"),
        (b'{"a":.5}', "at byte 5"),
        (b'{"a":"\n"}', "at byte"),
        (b'{"a":"\\x"}', "at byte"),
        (b"nul", "at byte 0"),
        (b"\xef\xbb\xbf{}", "at byte 0"),
        ('{"äöü": x}'.encode(), "at byte 11"),
        (b'{"a":"\xff"}', "Invalid UTF-8 at byte 6"),
        (b'{"a":"\xc3\x28"}', "Invalid UTF-8 at byte 6"),
        (b'{"\xc3\xa4":"\xed\xa0\x80"}', "Invalid UTF-8 at byte 7"),
        (b"\xff\xfe{\x00}\x00", "Invalid UTF-8 at byte 0"),
        (b'{"a":"\xf0\x9f\x98', "Invalid UTF-8 at byte 6"),
    ],
)
def test_invalid_json_is_rejected_with_the_byte_position(raw, message):
    with pytest.raises(JSONSyntaxError, match=message):
        decode(raw)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_any_nesting_depth_over_the_limit_is_rejected(opening, closing):
    # The two parsers have different depth limits below one thousand.
    for depth in [17, 100, *range(700, 1010), 5000, 100_000]:
        assert codes(opening * depth + b"1" + closing * depth) == [("", "too-deep")], depth


def test_deep_nesting_without_end_is_rejected():
    assert codes(b"[" * 100_000) == [("", "too-deep")]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**53) - 2, 2**53 + 2)
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def exact(value):
    """Return the value in a form in which 1, 1.0, True and -0.0 are all different."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return (type(value).__name__, repr(value))


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
@example({"a": [1, 1.0, -0.0, True]}, False, None)
def test_the_fast_and_the_strict_parser_return_the_same_value(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = json.dumps(value, indent=indent).encode()
    read = decode(raw)
    if not validate(read):
        assert exact(read) == exact(json.loads(raw))


@given(
    st.text(st.sampled_from('{}[]",:0123456789.eE+-\\u00d8 \n\ttruefalsn"a":'), max_size=24)
    | st.binary(max_size=12).map(lambda raw: raw.decode("latin-1"))
)
@example('{"a":1,"a":2}')
@example('"\t"')
@example("1E5")
@example("-0")
@example("0e0")
def test_the_parser_accepts_the_same_bytes_as_the_json_module(text):
    raw = text.encode()
    try:
        expected = json.loads(raw.decode())
    except ValueError:
        with pytest.raises(JSONSyntaxError):
            decode(raw)
        return
    read = decode(raw)
    if not validate(read):
        assert exact(read) == exact(expected)


@given(values)
def test_an_accepted_value_is_unchanged_after_encoding_and_decoding(value):
    raw = json.dumps(value).encode()
    read = decode(raw)
    if validate(read):
        return
    again = decode(msgspec.json.encode(read))
    assert exact(again) == exact(read)
    assert not validate(again)
    assert "\\u0000" not in msgspec.json.encode(read).decode().replace("\\\\", "")


@given(values, values)
def test_a_duplicate_key_is_always_reported(one, other):
    raw = f'{{"k":{json.dumps(one)},"x":0,"k":{json.dumps(other)}}}'.encode()
    assert ("", "duplicate-key") in codes(raw)


@pytest.mark.parametrize("value", [None, 1, "a", [], [{}], True])
def test_a_value_that_is_not_an_object_is_reported(value):
    assert validate_object(value, limit=100, at="/payload") == [
        JSONError("/payload", "not-an-object", "Must be a JSON object.")
    ]


def test_the_size_of_an_object_is_measured_in_utf_8_bytes():
    value = {"a": "ä" * 10}
    size = len(msgspec.json.encode(value))
    assert size == 28
    assert validate_object(value, limit=size) == []
    assert [fault.code for fault in validate_object(value, limit=size - 1)] == ["too-large"]


def test_pointers_start_with_the_given_prefix():
    assert [fault.pointer for fault in validate({"a": math.nan}, at="/3/payload")] == [
        "/3/payload/a"
    ]


def test_a_pointer_escapes_and_truncates_keys():
    assert json_pointer("a/b", "c~d", 0, "\0", "\ud800") == "/a~1b/c~0d/0/\\u0000/\\ud800"
    assert len(json_pointer("x" * 10_000)) == strict_json.KEY_LIMIT + 1


def test_the_message_of_an_exception_lists_its_errors():
    error = InvalidJSONValue(
        [JSONError("/a", "nul-character", "No."), JSONError("/b", "too-large", "Never.")]
    )
    assert str(error) == "/a: No.; /b: Never."


@pytest.mark.parametrize("item", [0, None, "", {}, []])
def test_empty_values_count_for_the_limit_of_values(item):
    full = {"a": [item] * strict_json.LEAF_LIMIT}
    assert validate(full) == []
    assert [fault.code for fault in validate({**full, "b": item})] == ["too-many-values"]
