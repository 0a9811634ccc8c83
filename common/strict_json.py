"""JSON from outside whose shape is the sender's own: payloads, metadata, commands, results.

`decode` reads it as strictly as PostgreSQL's jsonb and every other reader of it needs, and
`check` names each fault with a pointer. Nothing here touches the database.
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
"""Beyond it a double, and so JavaScript, no longer holds every integer (RFC 7493, 2.2)."""
FLOAT_LIMIT = 1e30
"""jsonb writes numbers out in full: 8 KB of `1e131071` would become 116 MB."""


def gettext_noop(text: str) -> str:
    """Mark a text for translators. Django's own asks for the settings, which reading needs not."""
    return text


PARSER_FAULTS = (
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
"""What Python's reader of JSON finds fault with, in its words."""

SURROGATE = re.compile("[\ud800-\udfff]")
KEY_END = re.compile(rb'"[ \t\r\n]*:')


class JSONError(NamedTuple):
    """What is wrong and where: an RFC 6901 pointer, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


class JSONSyntaxError(ValueError):
    """The bytes cannot be parsed; the message says where."""


class InvalidJSONValue(ValueError):
    """Parsed, but not to be stored; `faults` says why."""

    def __init__(self, faults: list[JSONError]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = faults


class _DuplicateKeys(dict[str, Any]):
    """An object in which a key was given more than once."""


def decode(raw: bytes) -> Any:
    """The value that these bytes are. Raises NotJSON.

    What JSON forbids but other writers emit (NaN, a key twice, half a surrogate pair) is kept
    in the value, so that `check` can point at it.
    """
    try:
        value = msgspec.json.decode(raw)
        # Every key ends in `":`, and a text may hold it too: equal counts prove no key came twice.
        if len(KEY_END.findall(raw)) == count_keys(value):
            return value
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return _decode_fallback(raw)


def validate(value: Any, *, at: str = "", leaf_limit: int = LEAF_LIMIT) -> list[JSONError]:
    """Every reason why this value may not be stored, each with its pointer below `at`."""
    faults: list[JSONError] = []
    for leaves, (place, leaf, depth) in enumerate(_walk(value, at), 1):
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
            faults.append(JSONError(place, *fault))
    return faults


def validate_object(value: Any, *, limit: int, at: str = "") -> list[JSONError]:
    """Like `check`, for what must be an object of at most `limit` bytes."""
    if not isinstance(value, dict):
        return [JSONError(at, "not-an-object", _("Must be a JSON object."))]
    faults = validate(value, at=at)
    if not faults and len(msgspec.json.encode(value)) > limit:
        faults = [JSONError(at, "too-large", _("Larger than %(limit)s bytes.") % {"limit": limit})]
    return faults


def count_keys(value: Any) -> int:
    """How many keys there are in all objects of a value."""
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
    """The fault of an object, itself and not what is in it, in which a key came twice."""
    if isinstance(value, _DuplicateKeys):
        return JSONError(at, "duplicate-key", _("A key is given more than once."))
    return None


def json_pointer(*parts: str | int) -> str:
    """An RFC 6901 JSON pointer; what could not be sent in an answer is escaped."""
    return "".join(
        "/" + _printable(str(part)).replace("~", "~0").replace("/", "~1") for part in parts
    )


class _BadKey(NamedTuple):
    code: str
    detail: str


def _walk(value: Any, at: str, depth: int = 1) -> Iterator[tuple[str, Any, int]]:
    """Every leaf and every bad key: its pointer, itself, how many levels it is nested in.

    An object or an array with nothing in it is a leaf, too.
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
                return "lone-surrogate", _("Half a surrogate pair is not a character.")
        case float():
            if not math.isfinite(leaf):
                return "not-a-number", _("NaN, Infinity and numbers beyond a double are not JSON.")
            if abs(leaf) > FLOAT_LIMIT:
                return "number-too-large", _("Beyond ±%(limit)s.") % {"limit": f"{FLOAT_LIMIT:g}"}
        case int() if abs(leaf) > INTEGER_LIMIT:
            return "number-too-large", _("An integer beyond ±2^53 does not survive a double.")
    return None


def _printable(text: str) -> str:
    """Text as it can be sent in an answer, at a bearable length."""
    return text[:KEY_LIMIT].replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _decode_fallback(raw: bytes) -> Any:
    """The standard library's reader: slower, but it reads on past what it should not."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise JSONSyntaxError(_("Not UTF-8 at byte %(byte)s.") % {"byte": error.start}) from None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        told = {"fault": _(error.msg), "byte": offset}
        raise JSONSyntaxError(_("Not JSON: %(fault)s at byte %(byte)s.") % told) from None
    except RecursionError:
        # The value is lost to us; one that is certainly too deep stands for it.
        return json.loads("[" * (DEPTH_LIMIT + 2) + "]" * (DEPTH_LIMIT + 2))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else _DuplicateKeys(value)


def _integer(digits: str) -> int | float:
    # Python refuses to read integers of thousands of digits; any of them is beyond the limit.
    return int(digits) if len(digits) < 40 else math.inf
