"""The catalogue of malformed input for readings.

Data only. Each case is written once; the tests send it through every entry point.
"""

import json
from gzip import compress
from typing import NamedTuple

from common.api.content_encoding import zstd


class Case(NamedTuple):
    """A reading as JSON text, with the pointer and the code of its error."""

    name: str
    text: str
    pointer: str
    code: str


class Body(NamedTuple):
    """The bytes of a whole JSON body, the status of the response, and a word in it."""

    name: str
    raw: bytes
    status: int
    word: str


class Row(NamedTuple):
    """A row of a CSV file with the columns recorded_at and a, and the pointer of its error."""

    name: str
    text: bytes
    pointer: str


class Request(NamedTuple):
    """A body, its headers, and the status of the response."""

    name: str
    raw: bytes
    headers: dict[str, str]
    status: int


def reading(**fields: str) -> str:
    """Return a reading with these fields as JSON text; the other fields are valid."""
    given = {"telemetry_type": '"environment"', "payload": '{"a":1}', "recorded_at": TIME, **fields}
    return "{" + ",".join(f'"{name}":{text}' for name, text in given.items()) + "}"


def payload(text: str) -> str:
    return reading(payload=text)


def at(text: str) -> str:
    return reading(recorded_at=text)


def table(row: bytes) -> bytes:
    """Return a CSV file in which this row is line 3, between valid rows."""
    return b"recorded_at,a\n2025-06-15T10:00:00Z,1\n%b\n2025-06-15T12:00:00Z,2\n" % row


def gzip(body: bytes | str) -> bytes:
    return compress(body.encode() if isinstance(body, str) else body, mtime=0)


TIME = '"2025-06-15T11:00:00Z"'
FORM = "application/x-www-form-urlencoded"
GOOD, ANOTHER = payload('{"good":1}'), payload('{"good":2}')
LARGE = json.dumps({f"k{number}": "x" * 100 for number in range(200)})
MANY = json.dumps(dict.fromkeys(map(str, range(257)), 0))
DEEP = 5000

READINGS = [
    # Values that jsonb, a double or JavaScript cannot store
    Case("a NUL in a text", payload(r'{"a":"\u0000"}'), "/payload/a", "nul-character"),
    Case("a NUL in a key", payload(r'{"a\u0000":1}'), r"/payload/a\u0000", "nul-character"),
    Case("a lone surrogate", payload(r'{"a":"\ud800"}'), "/payload/a", "lone-surrogate"),
    Case("one deep inside", payload(r'{"a":{"b":["\udbff"]}}'), "/payload/a/b/0", "lone-surrogate"),
    Case("a surrogate in a key", payload(r'{"\udfff":1}'), r"/payload/\udfff", "lone-surrogate"),
    Case("surrogates swapped", payload(r'{"a":"\ude00\ud83d"}'), "/payload/a", "lone-surrogate"),
    Case("NaN", payload('{"a":NaN}'), "/payload/a", "not-a-number"),
    Case("Infinity", payload('{"a":Infinity}'), "/payload/a", "not-a-number"),
    Case("-Infinity", payload('{"a":[-Infinity]}'), "/payload/a/0", "not-a-number"),
    Case("1e400", payload('{"a":1e400}'), "/payload/a", "not-a-number"),
    Case("a hundred megabytes in jsonb", payload('{"a":1e131071}'), "/payload/a", "not-a-number"),
    Case("beyond 1e30", payload('{"a":1e31}'), "/payload/a", "number-too-large"),
    Case("below -1e30", payload('{"a":-1.1e30}'), "/payload/a", "number-too-large"),
    Case("beyond 2^53", payload('{"a":9007199254740993}'), "/payload/a", "number-too-large"),
    Case("below -2^53", payload('{"a":-9007199254740993}'), "/payload/a", "number-too-large"),
    Case("beyond 64 bits", payload('{"a":18446744073709551616}'), "/payload/a", "number-too-large"),
    Case("5,000 digits", payload('{"a":%s}' % ("9" * 5000)), "/payload/a", "not-a-number"),
    # The shape of the payload
    Case("17 levels", payload('{"a":' * 17 + "1" + "}" * 17), "/payload", "too-deep"),
    Case("17 arrays", payload('{"a":' + "[" * 17 + "]" * 17 + "}"), "/payload", "too-deep"),
    Case("257 values", payload(MANY), "/payload", "too-many-values"),
    Case("257 nulls", payload('{"a":[' + 256 * "null," + "null]}"), "/payload", "too-many-values"),
    Case("over 16 KiB", payload(LARGE), "/payload", "too-large"),
    Case("a long key", payload('{"%s":1}' % ("k" * 129)), "/payload/" + "k" * 128, "key-too-long"),
    Case("a key twice", payload('{"a":1,"a":2}'), "/payload", "duplicate-key"),
    Case("a key twice, escaped", payload(r'{"a":1,"\u0061":1}'), "/payload", "duplicate-key"),
    Case("a key twice inside", payload('{"a":{"b":1,"b":1}}'), "/payload/a", "duplicate-key"),
    Case("below a slash", payload('{"a/b":[{"c":1,"c":1}]}'), "/payload/a~1b/0", "duplicate-key"),
    Case("an empty payload", payload("{}"), "/payload", "empty"),
    Case("a payload of null", payload("null"), "/payload", "not-an-object"),
    Case("an array as payload", payload("[]"), "/payload", "not-an-object"),
    Case("a text as payload", payload('"{}"'), "/payload", "not-an-object"),
    Case("a number as payload", payload("5"), "/payload", "not-an-object"),
    Case("false as payload", payload("false"), "/payload", "not-an-object"),
    # The fields of a reading
    Case("no payload", f'{{"telemetry_type":"a","recorded_at":{TIME}}}', "/payload", "required"),
    Case("no type", f'{{"payload":{{"a":1}},"recorded_at":{TIME}}}', "/telemetry_type", "required"),
    Case("a space in the type", reading(telemetry_type='"a b"'), "/telemetry_type", "invalid"),
    Case("a dot in the type", reading(telemetry_type='"a.b"'), "/telemetry_type", "invalid"),
    Case("a line end in the type", reading(telemetry_type=r'"a\n"'), "/telemetry_type", "invalid"),
    Case("a NUL in the type", reading(telemetry_type=r'"a\u0000"'), "/telemetry_type", "invalid"),
    Case("other digits in the type", reading(telemetry_type='"٢"'), "/telemetry_type", "invalid"),
    Case("markup as type", reading(telemetry_type='"<script>"'), "/telemetry_type", "invalid"),
    Case("an empty type", reading(telemetry_type='""'), "/telemetry_type", "invalid"),
    Case("a long type", reading(telemetry_type='"%s"' % ("a" * 65)), "/telemetry_type", "invalid"),
    Case("a type of null", reading(telemetry_type="null"), "/telemetry_type", "invalid"),
    Case("a number as type", reading(telemetry_type="1"), "/telemetry_type", "invalid"),
    Case("an object as type", reading(telemetry_type='{"a":1}'), "/telemetry_type", "invalid"),
    Case("a payload twice", f'{GOOD[:-1]},"payload":{{"a":1}}}}', "", "duplicate-key"),
    Case("a time twice", f'{GOOD[:-1]},"recorded_at":{TIME}}}', "", "duplicate-key"),
    Case("its own id", reading(id='"x"'), "/id", "unknown-field"),
    Case("another device", reading(device_id='"x"'), "/device_id", "unknown-field"),
    Case("its own created_at", reading(created_at="null"), "/created_at", "unknown-field"),
    Case("a user", reading(user="1"), "/user", "unknown-field"),
    Case("a status", reading(status='"online"'), "/status", "unknown-field"),
    Case("a field with a lone surrogate", reading(**{r"\ud800": "1"}), r"/\ud800", "unknown-field"),
    # Times
    Case("no offset", at('"2025-06-15T11:00:00"'), "/recorded_at", "invalid-time"),
    Case("a date only", at('"2025-06-15"'), "/recorded_at", "invalid-time"),
    Case("the basic form", at('"20250615T110000Z"'), "/recorded_at", "invalid-time"),
    Case("a week", at('"2025-W24-7T11:00:00Z"'), "/recorded_at", "invalid-time"),
    Case("no seconds", at('"2025-06-15T11:00Z"'), "/recorded_at", "invalid-time"),
    Case("an offset in hours", at('"2025-06-15T11:00:00+02"'), "/recorded_at", "invalid-time"),
    Case("a comma", at('"2025-06-15T11:00:00,5Z"'), "/recorded_at", "invalid-time"),
    Case("a NUL behind", at(r'"2025-06-15T11:00:00Z\u0000"'), "/recorded_at", "invalid-time"),
    Case("a line end behind", at(r'"2025-06-15T11:00:00Z\n"'), "/recorded_at", "invalid-time"),
    Case("a space before", at('" 2025-06-15T11:00:00Z"'), "/recorded_at", "invalid-time"),
    Case("Arabic digits", at('"٢٠٢٥-06-15T11:00:00Z"'), "/recorded_at", "invalid-time"),
    Case("30 February", at('"2025-02-30T11:00:00Z"'), "/recorded_at", "invalid-time"),
    Case("24 o'clock", at('"2025-06-15T24:00:00Z"'), "/recorded_at", "invalid-time"),
    Case("the year 0", at('"0000-01-01T00:00:00Z"'), "/recorded_at", "invalid-time"),
    Case("past the last second", at('"9999-12-31T23:59:60Z"'), "/recorded_at", "invalid-time"),
    Case("past it in UTC", at('"9999-12-31T23:59:59-01:00"'), "/recorded_at", "invalid-time"),
    Case("before the first", at('"0001-01-01T00:00:00+01:00"'), "/recorded_at", "invalid-time"),
    Case("Unix time", at("1750000000"), "/recorded_at", "invalid-time"),
    Case("an empty time", at('""'), "/recorded_at", "invalid-time"),
    Case("false as time", at("false"), "/recorded_at", "invalid-time"),
    Case("an array as time", at('["2025-06-15T11:00:00Z"]'), "/recorded_at", "invalid-time"),
    Case("the year 1", at('"0001-01-01T00:00:00Z"'), "/recorded_at", "time-out-of-range"),
    Case("an unset clock", at('"1970-01-01T00:00:12Z"'), "/recorded_at", "time-out-of-range"),
    Case("before 2000", at('"1999-12-31T23:59:59.999999Z"'), "/recorded_at", "time-out-of-range"),
    Case("the year 9999", at('"9999-12-31T23:59:59Z"'), "/recorded_at", "time-out-of-range"),
    # Values that are not readings
    Case("a text", '"reading"', "", "not-an-object"),
    Case("null", "null", "", "not-an-object"),
    Case("true", "true", "", "not-an-object"),
    Case("a number", "1e999", "", "not-an-object"),
]  # fmt: skip

NOT_JSON = [
    Body("half an object", b"{", 400, "byte"),
    Body("half a reading", GOOD.encode()[:-1], 400, "byte"),
    Body("single quotes", b"{'a':1}", 400, "byte"),
    Body("a comma too many", b'{"a":1,}', 400, "byte"),
    Body("two values", b"{}{}", 400, "byte"),
    Body("a byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), 400, "byte 0"),
    Body("a form", b"payload=null", 400, "byte 0"),
    Body("a NUL", b"\0", 400, "byte 0"),
    Body("a bare word", b"undefined", 400, "byte 0"),
    Body("a control character", b'{"a":"\x01"}', 400, "byte"),
    Body("a bad escape", rb'{"a":"\x"}', 400, "byte"),
    Body("UTF-16", GOOD.encode("utf-16"), 400, "byte 0"),
    Body("Latin-1", b'{"telemetry_type":"a","payload":{"a":"\xe9"}}', 400, "byte 38"),
    Body("an overlong slash", b'{"a":"\xc0\xaf"}', 400, "byte 6"),
    Body("a surrogate in UTF-8", b'{"a":"\xed\xa0\x80"}', 400, "byte 6"),
]
"""None of these is JSON, as a body or as a line of NDJSON."""

BODIES = [
    *NOT_JSON,
    Body("a comma too many in an array", b"[%b,]" % GOOD.encode(), 400, "byte"),
    Body("an empty body", b"", 400, "byte 0"),
    Body("an empty object", b"{}", 422, "/payload"),
    Body("an array in an array", b"[[%b]]" % GOOD.encode(), 422, "/0"),
    Body("an array of arrays", b"[[]]", 422, "/0"),
    Body("readings that are an object", b'{"readings":{}}', 422, "/readings"),
    Body("readings of null", b'{"readings":null}', 422, "/readings"),
    Body("readings in readings", b'{"readings":[{"readings":[]}]}', 422, "/readings/0"),
    Body("readings twice", b'{"readings":[],"readings":[]}', 422, "duplicate-key"),
    Body("a field beside readings", b'{"readings":[],"x":1}', 422, "/readings"),
    Body("arrays 5,000 deep", b"[" * DEEP + b"]" * DEEP, 422, "/0"),
    Body("objects 5,000 deep", b'{"a":' * DEEP + b"1" + b"}" * DEEP, 422, "pointer"),
    Body("readings 5,000 deep", b'{"readings":' * DEEP + b"1" + b"}" * DEEP, 422, "pointer"),
]

MEBIBYTE = 1024 * 1024
REQUESTS = [
    *(
        Request(f"as {media_type}", GOOD.encode(), {"Content-Type": media_type}, 415)
        for media_type in (
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "application/xml",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/jsonp",
            "application/x-ndjson; charset=utf-16",
            "garbage",
        )
    ),
    Request("a form of null", b"payload=null", {"Content-Type": FORM}, 415),
    Request("of no length", b"", {"Transfer-Encoding": "gzip, chunked"}, 411),
    Request("over the limit", b" " * (MEBIBYTE + 1), {}, 413),
    Request("as brotli", GOOD.encode(), {"Content-Encoding": "br"}, 415),
    Request("gzip twice", gzip(gzip(GOOD)), {"Content-Encoding": "gzip, gzip"}, 415),
    Request("invalid gzip", GOOD.encode(), {"Content-Encoding": "gzip"}, 400),
    Request("half a gzip", gzip(GOOD)[:-9], {"Content-Encoding": "gzip"}, 400),
    Request(
        "gzip with a wrong checksum", gzip(GOOD)[:-8] + bytes(8), {"Content-Encoding": "gzip"}, 400
    ),
    Request("nothing as gzip", b"", {"Content-Encoding": "gzip"}, 400),
    Request("a gzip bomb", gzip(" " * 8 * MEBIBYTE), {"Content-Encoding": "gzip"}, 413),
    Request("half a zstd", zstd.compress(GOOD.encode())[:-1], {"Content-Encoding": "zstd"}, 400),
    Request("invalid zstd", GOOD.encode(), {"Content-Encoding": "zstd"}, 400),
    Request("a zstd bomb", zstd.compress(bytes(8 * MEBIBYTE)), {"Content-Encoding": "zstd"}, 413),
]

ROWS = [
    Row("no time", b",5", "/recorded_at"),
    Row("an invalid time", b"yesterday,5", "/recorded_at"),
    Row("30 February", b"2025-02-30 11:00:00,5", "/recorded_at"),
    Row("the year 1", b"0001-01-01T00:00:00Z,5", "/recorded_at"),
    Row("an unset clock", b"12,5", "/recorded_at"),
    Row("the year 9999", b"9999-12-31T23:59:59Z,5", "/recorded_at"),
    Row("a NUL", b"2025-06-15T11:00:00Z,a\0b", ""),
    Row("beyond 2^53", b"2025-06-15T11:00:00Z,9007199254740993", "/payload/a"),
    Row("beyond 1e30", b"2025-06-15T11:00:00Z,1e31", "/payload/a"),
    Row("1e400", b"2025-06-15T11:00:00Z,1e400", "/payload/a"),
    Row("no value", b"2025-06-15T11:00:00Z,", "/payload"),
    Row("only NaN", b"2025-06-15T11:00:00Z,NaN", "/payload"),
    Row("over 16 KiB", b"2025-06-15T11:00:00Z," + b"x" * 17_000, "/payload"),
    Row("a cell too few", b"2025-06-15T11:00:00Z", ""),
    Row("a cell too many", b"2025-06-15T11:00:00Z,5,6", ""),
    Row("text behind a quote", b'2025-06-15T11:00:00Z,"a"b', ""),
]
