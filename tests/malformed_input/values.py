"""JSON values that no field accepts, and bodies that are not JSON."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.malformed_input.case import Case, Outcome
from tests.malformed_input.endpoints import Endpoint, wrong_types
from tests.malformed_input.http_client import Request
from tests.telemetry import bad_input

DEEP = 5000
VALUES: dict[str, bytes] = {
    "a NUL in a text": rb'"a\u0000b"',
    "a NUL and nothing else": rb'"\u0000"',
    "a NUL in a key": rb'{"a\u0000": 1}',
    "a NUL deep in it": rb'{"a": [{"b": "\u0000"}]}',
    "a lone surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udfff x"',
    "surrogates swapped": rb'"\ude00\ud83d"',
    "a lone surrogate in a key": rb'{"\udbff": 1}',
    "a lone surrogate deep in it": rb'[[{"b": "\ud83d"}]]',
    "NaN": b"NaN",
    "-NaN": b"[-NaN]",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "NaN in an array": b"[1, NaN]",
    "1e400": b"1e400",
    "-1e400": b"-1e400",
    "a hundred megabytes in jsonb": b"1e131071",
    "1e999999999": b"1e999999999",
    "beyond 1e30": b"1e31",
    "1e308": b"1e308",
    "-1e308": b"-1e308",
    "beyond 2^53": b"9007199254740993",
    "below -2^53": b"-9007199254740993",
    "beyond 64 bits": b"18446744073709551616",
    "below 64 bits": b"-9223372036854775809",
    "5,000 digits": b"9" * 5000,
    "5,000 digits behind the point and 1e400": b"1." + b"9" * 5000 + b"e400",
    "17 arrays": b"[" * 17 + b"]" * 17,
    "17 objects": b'{"a":' * 17 + b"1" + b"}" * 17,
    "5,000 arrays": b"[" * DEEP + b"]" * DEEP,
    "5,000 objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "3,000 values": b"[" + b"0," * 2999 + b"0]",
    "3,000 keys": json.dumps(dict.fromkeys(map(str, range(3000)), 0)).encode(),
    "a text of 17,000 characters": b'"%b"' % (b"x" * 17_000),
    "17,000 characters of four bytes": b'"%b"' % ("\U0001f321" * 17_000).encode(),
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, escaped": rb'{"a": 1, "\u0061": 1}',
    "a key twice, deep in it": b'[{"b": {"c": 1, "c": 1}}]',
    "a long key": b'{"%b": 1}' % (b"k" * 129),
    "a key of 100,000 characters": b'{"%b": 1}' % (b"k" * 100_000),
}  # fmt: skip
"""Values of a field, or of a key in it if the field takes any object."""

WHOLE: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"5",
    "a text": b'"text"',
    "an array of a number": b"[5]",
    "an array of an array": b"[[]]",
    "NaN": b"NaN",
    "a lone surrogate": rb'"\ud800"',
    "5,000 arrays": b"[" * DEEP + b"]" * DEEP,
    "100,000 arrays that do not end": b"[" * 100_000,
    "a million spaces": b" " * 1_000_000,
    "a comma": b",",
    "a comment": b'/* {"a": 1} */ {"a": 1}',
    "two bodies": b'{"a": 1}\n{"a": 1} x',
    "a JSON text sequence": b'\x1e{"a": 1}\n',
    "BSON": b"\x0c\x00\x00\x00\x10a\x00\x01\x00\x00\x00\x00",
    "MessagePack": b"\x81\xa1a\x01",
    "UTF-16 without a mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "UTF-7": b"+AHsAIgBhACI-: 1}",
    "beyond Unicode": b'{"a": "\xf4\x90\x80\x80"}',
    "half a character": b'{"a": "\xe2\x82"}',
    "half an escape": rb'{"a": "\u12',
    "hexadecimal": b'{"a": 0x10}',
    "a leading zero": b'{"a": 01}',
    "a plus": b'{"a": +1}',
    "a number that ends in a point": b'{"a": 1.}',
    "a bare key": b"{a: 1}",
    "a key that is a number": b"{1: 1}",
    "a line end in a text": b'{"a": "\n"}',
}
"""Whole bodies."""

STRANGE_FIELDS = {
    "an unknown field": b'"zzz": 1',
    "its own id": b'"id": "00000000-0000-0000-0000-000000000000"',
    "another user": b'"user": 1',
    "another user's id": b'"user_id": 1',
    "staff": b'"is_staff": true',
    "__proto__": b'"__proto__": {"is_staff": true}',
    "an empty key": b'"": 1',
    "a key with a NUL": rb'"\u0000": 1',
    "a key with a lone surrogate": rb'"\ud800": 1',
    "a key of 100,000 characters": b'"%b": 1' % (b"k" * 100_000),
    "1,000 unknown fields": b", ".join(b'"f%d": []' % n for n in range(1000)),
}


def cases() -> Iterator[Case]:
    for number, (name, text) in enumerate(VALUES.items()):
        yield Case(f"{name} as a value", _in_a_field(text, number))
    for number in range(12):
        yield Case(f"a value of another type, {number + 1}", _of_another_type(number))
    for name, text in WHOLE.items():
        yield Case(f"{name} as the body", _whole(text))
    for name, text in STRANGE_FIELDS.items():
        yield Case(f"{name} beside the fields", _beside(text))
    yield Case("a field twice", _twice)
    yield Case("a missing field", _too_few)
    for body in bad_input.NOT_JSON:
        # A file may begin with a byte order mark.
        if body.name != "a byte order mark":
            yield Case(f"{body.name} as the body", _whole(body.raw))
    for request in bad_input.REQUESTS:
        # The encoding of an empty body is not checked.
        outcome = Outcome.EITHER if request.name == "nothing as gzip" else Outcome.REFUSED
        status = request.status if outcome == Outcome.REFUSED else 0
        yield Case(f"a body {request.name}", _as(request), outcome, status)
    # An endpoint without a body ignores the body.
    for name in ("1e400", "5,000 arrays", "a NUL and nothing else"):
        yield Case(f"{name} to an endpoint without a body", _unasked(VALUES[name]), Outcome.EITHER)
    for request in bad_input.REQUESTS:
        yield Case(
            f"{request.name} to an endpoint without a body", _unasked_as(request), Outcome.EITHER
        )


Make = Callable[[Endpoint, Request], Request | None]


def _in_a_field(text: bytes, number: int) -> Make:
    """Put the value in one field after another, so that the cases together cover all fields."""

    def make(endpoint: Endpoint, request: Request) -> Request | None:
        if not endpoint.has_body:
            return None
        names = list(endpoint.fields)
        field = names[number % len(names)]
        inner = text
        if "additionalProperties" in endpoint.fields[field]:
            inner = b'{"a": %b}' % text
        return request.with_body(endpoint.body_with(field, inner))

    return make


def _of_another_type(number: int) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        wrong = [
            (field, text)
            for field, part in endpoint.fields.items()
            for text in wrong_types(part).values()
        ]
        if number >= len(wrong):
            return None
        field, text = wrong[number * len(wrong) // 12 if len(wrong) > 12 else number]
        return request.with_body(endpoint.body_with(field, text))

    return make


def _whole(raw: bytes) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        return request.with_body(raw) if endpoint.has_body else None

    return make


def _beside(text: bytes) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        return request.with_body(b"%b, %b}" % (request.body[:-1], text)) if request.body else None

    return make


def _twice(endpoint: Endpoint, request: Request) -> Request | None:
    if not endpoint.has_body:
        return None
    field, value = next(iter(endpoint.body.items()))
    text = json.dumps({field: value}).encode()[1:-1]
    return _beside(text)(endpoint, request)


def _too_few(endpoint: Endpoint, request: Request) -> Request | None:
    """Leave out one of the required fields."""
    if not endpoint.has_body or not endpoint.required:
        return None
    others = {name: value for name, value in endpoint.body.items() if name != endpoint.required[0]}
    return request.with_body(json.dumps(others).encode())


def _as(bad: bad_input.Request) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        if not endpoint.has_body:
            return None
        return _sent_as(bad, request, keep=b"json" in request.headers["Content-Type"])

    return make


def _unasked(text: bytes) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        if endpoint.has_body:
            return None
        return request.with_body(text).with_headers(Content_Type="application/json")

    return make


def _unasked_as(bad: bad_input.Request) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        return None if endpoint.has_body else _sent_as(bad, request, keep=True)

    return make


def _sent_as(bad: bad_input.Request, request: Request, *, keep: bool) -> Request:
    """Return the request with the headers and the body of a malformed one."""
    headers = {"Content-Type": b"application/json", **request.headers}
    given = {name: value.encode() for name, value in bad.headers.items()}
    return replace(request, headers={**headers, **given}, body=bad.raw)
