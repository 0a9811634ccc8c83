"""The seeds of the fuzzer: the corpus, for each parser."""

from collections.abc import Iterator

from accounts.tokens import format as token_format
from common.api.content_encoding import zstd
from tests.malformed_input import values
from tests.telemetry import bad_input

GOOD_TIMES = [
    b"2025-06-15T11:00:00Z",
    b"2025-06-15t11:00:00.123456789z",
    b"2025-06-15 23:59:60+02:00",
    b"2000-01-01T00:00:00.5-23:59",
]


def seeds() -> dict[str, list[bytes]]:
    """Return the seeds by the name of the target."""
    texts = [case.text.encode() for case in bad_input.READINGS]
    payloads = [b'{"a": %b}' % text for text in values.VALUES.values() if len(text) < 5000]
    tables = [bad_input.table(row.text) for row in bad_input.ROWS if len(row.text) < 5000]
    whole = [body.raw for body in bad_input.BODIES if len(body.raw) < 5000]
    good = [bad_input.GOOD.encode(), bad_input.ANOTHER.encode()]
    return {
        "a_body_of_readings": [
            *(text for text in (*texts, *whole) if len(text) < 5000),
            b"[%b,%b]" % tuple(good),
            b'{"readings": [%b]}' % good[0],
            b"\n%b\n%b" % tuple(good),
            bad_input.payload('{"a":{"b":[1.0,-0.0,{"c":5e-324}]}}').encode(),
        ],
        "a_json_value": [*payloads, *values.STRANGE_FIELDS.values(), *whole],
        "a_time": [*GOOD_TIMES, *times()],
        "a_key": [*payloads, b'{"a": {"b": [1, {}, []]}, "c.d": 2, "": 3}'],
        "a_token": [token_format.generate(kind).text.encode() for kind in ("tsd", "tsu", "tsv")],
        "a_compressed_body": [
            *(request.raw for request in bad_input.REQUESTS if len(request.raw) < 20_000),
            bad_input.gzip(good[0]),
            zstd.compress(good[0]),
        ],
        "a_file_of_readings": [
            *tables,
            b"\xef\xbb\xbftime;t;h\r\n15.6.2025 11:00;1,5;2\r\n",
            b"\n".join(good),
            b'recorded_at,telemetry_type,payload\n2025-06-15T11:00:00Z,a,"{""a"":1}"\n',
        ],
    }


def times() -> Iterator[bytes]:
    """Return the times of the catalogue that are strings."""
    before = b'"recorded_at":"'
    for case in bad_input.READINGS:
        _, found, rest = case.text.encode().partition(before)
        if found:
            yield rest.partition(b'"')[0]
