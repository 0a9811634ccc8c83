"""JSON of any kind for fields that take any JSON object, and a check which of it is valid."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from hypothesis import strategies as st

DEPTH, LEAVES, KEY, BYTES = 16, 256, 128, 16 * 1024
INTEGER, FLOAT = 2**53, 1e30

CHARACTERS = st.characters(exclude_categories=())
"""All characters, including lone surrogates and NUL."""
ODD_TEXTS = ["", "\0", "a\0b", "\ud800", "\udfff\ud800", "\ud83d\ude00", "\U0001f321", "\ufeff"]
TEXTS = st.text(CHARACTERS, max_size=20) | st.sampled_from(ODD_TEXTS)
ODD_NUMBERS = [
    *(0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-30, 0.1, 1e16, 1e22, 1e23),
    *(1e30, -1e30, 1.0000000000000002e30, 1e31, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *(2**53 - 1, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 2**63, 2**64, 10**30, 10**400),
    *(float(2**53), float(2**53 + 2), 123456789012345680.0),
]
NUMBERS = st.integers() | st.floats() | st.sampled_from(ODD_NUMBERS)
LEAVES_OF_JSON = st.none() | st.booleans() | NUMBERS | TEXTS
KEYS = TEXTS | st.sampled_from(["a", "a.b", "a/b", "~", "k" * KEY, "k" * (KEY + 1), "__proto__"])
TREES = st.recursive(
    LEAVES_OF_JSON,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@st.composite
def deep(draw: st.DrawFn) -> Any:
    """Return a value about as deep as the limit."""
    value = draw(LEAVES_OF_JSON | st.just({}) | st.just([]))
    for is_array in draw(st.lists(st.booleans(), min_size=12, max_size=18)):
        value = [value] if is_array else {"a": value}
    return value


@st.composite
def wide(draw: st.DrawFn) -> Any:
    """Return a value with about as many leaves, or about as many bytes, as the limits."""
    many = draw(st.integers(LEAVES - 6, LEAVES + 3))
    long = draw(st.integers(BYTES - 100, BYTES + 100))
    item = draw(st.sampled_from([0, None, True, 0.5, [], {}]))
    as_object = dict.fromkeys(map(str, range(many)), item)
    return draw(st.sampled_from([[item] * many, as_object, "x" * long]))


OBJECTS = st.one_of(
    st.dictionaries(KEYS, TREES, max_size=8),
    st.dictionaries(st.just("a"), deep(), min_size=1),
    st.dictionaries(st.sampled_from("ab"), wide(), min_size=1),
    TREES,
)


class Sent(NamedTuple):
    """An object as the JSON text that is sent, and as the decoded value."""

    text: bytes
    value: Any


@st.composite
def sent_objects(draw: st.DrawFn) -> Sent:
    """Draw an object as JSON, with escapes or, where possible, as plain UTF-8."""
    value = draw(OBJECTS)
    text = json.dumps(value).encode()
    if draw(st.booleans()):
        with suppress(UnicodeEncodeError):
            text = json.dumps(value, ensure_ascii=False).encode()
    # Two adjacent surrogate halves decode to one character.
    return Sent(text, json.loads(text))


class UsedLimits(NamedTuple):
    """The part of each limit that the surrounding document uses."""

    levels: int = 0
    leaves: int = 0
    may_be_empty: bool = True


def is_valid(value: Any, used: UsedLimits) -> bool | None:
    """Return whether a value is valid; None if this depends on how its bytes are counted."""
    if not isinstance(value, dict) or not (value or used.may_be_empty):
        return False
    leaves = list(_leaves(value))
    if max(depth for depth, _ in leaves) + used.levels > DEPTH:
        return False
    if len(leaves) + used.leaves > LEAVES or not all(_leaf_is_fit(leaf) for _, leaf in leaves):
        return False
    if not all(len(key) <= KEY and _leaf_is_fit(key) for key in _keys(value)):
        return False
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if abs(size - BYTES) < 1000 and any(type(leaf) is float for _, leaf in leaves):
        return None
    return size <= BYTES


def _leaf_is_fit(leaf: Any) -> bool:
    match leaf:
        case str():
            return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in leaf)
        case float():
            return math.isfinite(leaf) and abs(leaf) <= FLOAT
        case int():
            return abs(leaf) <= INTEGER
    return True


def _leaves(value: Any, depth: int = 0) -> Iterator[tuple[int, Any]]:
    """Return each leaf with its depth. An empty object or array counts as a leaf in itself."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item, depth + 1)
        if not value:
            yield depth + 1, None
    else:
        yield depth, value


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _keys(item)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        # 1e17 is returned as 100000000000000000, which is the same double.
        return float(one) == float(other)
    return type(one) is type(other) and bool(one == other)
