"""Strict validation of free-form JSON from clients: payloads, metadata, commands, results.

`decode` parses the bytes. `validate` returns an error with a JSON pointer for each value that
PostgreSQL's jsonb or another JSON reader cannot represent. Nothing here uses the database.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from django.utils.translation import gettext as _

DEPTH_LIMIT = 16
LEAF_LIMIT = 256
KEY_LIMIT = 128
INTEGER_LIMIT = 2**53
"""Beyond it a double, and so JavaScript, cannot represent every integer (RFC 7493, 2.2)."""
FLOAT_LIMIT = 1e30
"""jsonb stores all digits of a number: 8 KB of `1e131071` would become 116 MB."""


def gettext_noop(text: str) -> str:
    """Mark a text for translation. Django's function needs the settings, which parsing does not."""
    return text


PARSER_MESSAGES = (
    gettext_noop("Expecting value"),
    gettext_noop("Expecting ',' delimiter"),
    gettext_noop("Expecting ':' delimiter"),
    gettext_noop("Expecting property name enclosed in double quotes"),
    gettext_noop("Unterminated string starting at"),
    gettext_noop("Invalid control character at"),
    gettext_noop("Invalid \\escape"),
    gettext_noop("Invalid \\uXXXX escape"),
    gettext_noop("Extra data"),
    gettext_noop("Illegal trailing comma before end of object"),
    gettext_noop("Illegal trailing comma before end of array"),
)
"""The error messages of Python's JSON parser."""

SURROGATE = re.compile("[\ud800-\udfff]")
KEY_END = re.compile(rb'"[ \t\r\n]*:')


class JSONError(NamedTuple):
    """An error in a JSON document: an RFC 6901 pointer, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


class JSONSyntaxError(ValueError):
    """The bytes cannot be parsed; the message has the position."""


class InvalidJSONValue(ValueError):
    """The value was parsed but must not be stored; `faults` lists the errors."""

    def __init__(self, faults: list[JSONError]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = faults


class _DuplicateKeys(dict[str, Any]):
    """An object with a duplicate key."""


def decode(raw: bytes) -> Any:
    """Return the parsed value. Raises JSONSyntaxError.

    The value keeps what JSON forbids but some writers emit (NaN, duplicate keys, lone surrogates),
    so that `validate` can point at it.
    """
    try:
        value = msgspec.json.decode(raw)
        # Each key ends in `":`, which texts may contain too: equal counts prove unique keys.
        if len(KEY_END.findall(raw)) == count_keys(value):
            return value
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return _decode_fallback(raw)


def validate(value: Any, *, at: str = "", leaf_limit: int = LEAF_LIMIT) -> list[JSONError]:
    """Return each reason why this value must not be stored, with its pointer below `at`."""
    faults: list[JSONError] = []
    for leaves, (pointer, leaf, depth) in enumerate(_walk(value, at), 1):
        if depth > DEPTH_LIMIT:
            faults.append(
                JSONError(
                    at,
                    "too-deep",
                    _("Nested more than %(limit)s levels deep.") % {"limit": DEPTH_LIMIT},
                )
            )
            break
        if leaves > leaf_limit:
            faults.append(
                JSONError(
                    at, "too-many-values", _("More than %(limit)s values.") % {"limit": leaf_limit}
                )
            )
            break
        if fault := _fault(leaf):
            faults.append(JSONError(pointer, *fault))
    return faults


def validate_object(value: Any, *, limit: int, at: str = "") -> list[JSONError]:
    """Validate like `validate`; the value must also be an object of at most `limit` bytes."""
    if not isinstance(value, dict):
        return [JSONError(at, "not-an-object", _("Must be a JSON object."))]
    faults = validate(value, at=at)
    if not faults and len(msgspec.json.encode(value)) > limit:
        faults = [JSONError(at, "too-large", _("Larger than %(limit)s bytes.") % {"limit": limit})]
    return faults


def count_keys(value: Any) -> int:
    """Return the number of keys in all objects of a value."""
    items, count = value, 0
    if isinstance(value, dict):
        items, count = value.values(), len(value)
    elif not isinstance(value, list):
        return 0
    for item in items:
        if type(item) is dict or type(item) is list:
            count += count_keys(item)
    return count


def duplicate_key_error(value: Any, *, at: str) -> JSONError | None:
    """Return the error of an object with a duplicate key; nested objects are not checked."""
    if isinstance(value, _DuplicateKeys):
        return JSONError(at, "duplicate-key", _("A key occurs more than once."))
    return None


def json_pointer(*parts: str | int) -> str:
    """Return an RFC 6901 JSON pointer. Characters that a response cannot contain are escaped."""
    return "".join(
        "/" + _printable(str(part)).replace("~", "~0").replace("/", "~1") for part in parts
    )


class _BadKey(NamedTuple):
    code: str
    detail: str


def _walk(value: Any, at: str, depth: int = 1) -> Iterator[tuple[str, Any, int]]:
    """Yield the pointer, the value and the nesting depth of each leaf and each invalid key.

    Empty objects and arrays are leaves, too.
    """
    if isinstance(value, dict | list) and (depth > DEPTH_LIMIT or not value):
        yield at, None, depth
    elif isinstance(value, dict):
        if fault := duplicate_key_error(value, at=at):
            yield at, _BadKey(fault.code, fault.detail), depth
        for key, item in value.items():
            inner = at + json_pointer(key)
            if bad := _bad_key(key):
                yield inner, bad, depth
            yield from _walk(item, inner, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{at}/{index}", depth + 1)
    else:
        yield at, value, depth - 1


def _bad_key(key: str) -> _BadKey | None:
    if len(key) > KEY_LIMIT:
        return _BadKey(
            "key-too-long", _("A key is longer than %(limit)s characters.") % {"limit": KEY_LIMIT}
        )
    fault = _fault(key)
    return _BadKey(*fault) if fault else None


def _fault(leaf: Any) -> tuple[str, str] | None:
    match leaf:
        case _BadKey():
            return leaf.code, leaf.detail
        case str():
            if "\0" in leaf:
                return "nul-character", _("A NUL character cannot be stored.")
            if not leaf.isascii() and SURROGATE.search(leaf):
                return "lone-surrogate", _("A lone surrogate is not a valid character.")
        case float():
            if not math.isfinite(leaf):
                return "not-a-number", _(
                    "NaN, Infinity and numbers beyond the range of a double are not valid JSON."
                )
            if abs(leaf) > FLOAT_LIMIT:
                return "number-too-large", _("The number is outside ±%(limit)s.") % {
                    "limit": f"{FLOAT_LIMIT:g}"
                }
        case int() if abs(leaf) > INTEGER_LIMIT:
            return "number-too-large", _(
                "An integer beyond ±2^53 cannot be stored exactly as a double."
            )
    return None


def _printable(text: str) -> str:
    """Return the text escaped for a response and limited to KEY_LIMIT characters."""
    return text[:KEY_LIMIT].replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _decode_fallback(raw: bytes) -> Any:
    """Parse with the standard library: slower, but it accepts values that JSON forbids."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise JSONSyntaxError(
            _("Invalid UTF-8 at byte %(byte)s.") % {"byte": error.start}
        ) from None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        params = {"fault": _(error.msg), "byte": offset}
        raise JSONSyntaxError(_("Invalid JSON: %(fault)s at byte %(byte)s.") % params) from None
    except RecursionError:
        # The value cannot be parsed. Return another one that `validate` rejects as too deep.
        return json.loads("[" * (DEPTH_LIMIT + 2) + "]" * (DEPTH_LIMIT + 2))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else _DuplicateKeys(value)


def _integer(digits: str) -> int | float:
    # Python raises an error for integers of thousands of digits; all exceed INTEGER_LIMIT.
    return int(digits) if len(digits) < 40 else math.inf
