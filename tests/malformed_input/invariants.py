"""Invariants of every parser, for any input bytes.

Each function takes bytes and raises AssertionError, or an exception that its parser does not
document. The tests run them over the corpus; `make resilience NAMES=fuzz` runs them under a fuzzer
that looks for bytes that reach new code.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from accounts.tokens import format as token_format
from common import strict_json, timestamps
from common.api import content_encoding as compressed
from common.strict_json import JSONSyntaxError
from telemetry.ingest import decoding, validation
from telemetry.ingest.validation import InvalidReadings, ParsedReading
from telemetry.transfer import import_layout, import_parser

DEVICE = UUID("01890000-0000-7000-8000-000000000001")
NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
INFLATED = 100_000
"""The maximum size in bytes of a decompressed body."""


def a_body_of_readings(raw: bytes) -> None:
    """The fast and the slow decoder agree, and a valid reading is valid again after a round
    trip.
    """
    by_lines = raw[:1] == b"\n"
    with suppress(JSONSyntaxError, InvalidReadings, decoding.TooManyReadings):
        body = decoding.decode(raw, by_lines=by_lines)
        valid, rejected = _parsed(body)
        assert len(valid) + len(rejected) == len(body.values)
        for reading in valid:
            _is_stable(reading)
        slowly = decoding.DecodedBody(_slowly(raw, by_lines=by_lines), body.pointer, body.is_list)
        again, rejected_again = _parsed(slowly)
        assert [reading.id for reading in again] == [reading.id for reading in valid]
        assert [reading.json for reading in again] == [reading.json for reading in valid]
        assert rejected_again.keys() == rejected.keys()


def a_json_value(raw: bytes) -> None:
    """A valid value is the same after it is written and read again."""
    with suppress(JSONSyntaxError):
        value = strict_json.decode(raw)
        # A response must be able to contain the pointer.
        faults = strict_json.validate(value)
        for fault in faults:
            fault.pointer.encode()
        if not faults:
            text = msgspec.json.encode(value)
            assert "\0" not in json.dumps(value, ensure_ascii=False)
            assert strict_json.decode(text) == value
            assert json.loads(text) == value


def a_time(raw: bytes) -> None:
    """A parsed time is in UTC and is the same after it is formatted and parsed again."""
    with suppress(UnicodeDecodeError, timestamps.InvalidTimestamp):
        text = raw.decode()
        found = timestamps.parse(text)
        assert found.utcoffset() == timedelta(0)
        shown = timestamps.format_timestamp(found)
        assert timestamps.parse(shown) == found
        assert shown.isascii()
        assert len(shown) == 27


def a_key(raw: bytes) -> None:
    """Both ways to list the paths of a payload agree, and there are no more paths than leaves
    allowed.
    """
    with suppress(JSONSyntaxError):
        payload = strict_json.decode(raw)
        if not strict_json.validate_object(payload, limit=16 * 1024) and payload:
            reading = validation.build_reading(DEVICE, "fuzz", payload, NOW)
            slowly = tuple(path for path, _ in validation.iter_values(reading.payload))
            assert reading.keys() == slowly
            assert len(slowly) <= strict_json.LEAF_LIMIT


def a_token(raw: bytes) -> None:
    """A token is rejected if its checksum is wrong, and masked in any text."""
    text = raw.decode("latin-1")
    with suppress(token_format.MalformedToken):
        found = token_format.parse(text, "tsd", "tsu")
        assert len(found.digest) == 32
        assert found.text == text
        assert text.isascii()
        assert text[token_format.DISPLAY_PREFIX_LENGTH :] not in token_format.mask_tokens(
            f"a {text} b"
        )
        changed = f"{text[:9]}{'A' if text[9] != 'A' else 'B'}{text[10:]}"
        try:
            token_format.parse(changed, "tsd", "tsu")
        except token_format.MalformedToken:
            return
        raise AssertionError("another secret has the same checksum")


def a_compressed_body(raw: bytes) -> None:
    """The decompressed size never exceeds the limit, and only documented errors are raised."""
    for encoding in ("gzip", "zstd", "", "br"):
        with suppress(
            compressed.UnsupportedEncoding, compressed.CorruptBody, compressed.BodyTooLarge
        ):
            pieces = compressed.iter_decoded(io.BytesIO(raw), encoding, limit=INFLATED)
            assert sum(map(len, pieces)) <= INFLATED


def a_file_of_readings(raw: bytes) -> None:
    """Each row is a stable reading, or is rejected with its line and a reason."""
    file = io.BytesIO(raw)
    with suppress(import_layout.UnreadableFile):
        layout = import_layout.detect_layout(file)
        last = 0
        for row in _rows(file, layout):
            if isinstance(row, ParsedReading):
                _is_stable(row)
            else:
                assert row.line > last
                assert row.reason
                last = row.line


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        a_body_of_readings,
        a_json_value,
        a_time,
        a_key,
        a_token,
        a_compressed_body,
        a_file_of_readings,
    )
}


def _parsed(body: decoding.DecodedBody) -> tuple[list[ParsedReading], dict[int, Any]]:
    return validation.parse_all(
        body.values, device_id=DEVICE, now=NOW, at=body.pointer, is_list=body.is_list
    )


def _slowly(raw: bytes, *, by_lines: bool) -> list[Any]:
    """Return the values of a body, decoded without the fast path."""
    if by_lines:
        return list(_lines(raw))
    value = strict_json.decode(raw)
    if isinstance(value, dict) and set(value) == {"readings"}:
        value = value["readings"]
    return value if isinstance(value, list) else [value]


def _lines(raw: bytes) -> Iterator[Any]:
    for line in raw.split(b"\n"):
        if line.strip():
            try:
                yield strict_json.decode(line)
            except JSONSyntaxError as error:
                yield error


def _rows(file: io.BytesIO, layout: Any) -> Iterator[Any]:
    return import_parser.parse_rows(
        file, layout=layout, device_id=DEVICE, telemetry_type="fuzz", zone=UTC, now=NOW
    )


def _is_stable(reading: ParsedReading) -> None:
    """The stored reading, sent again, is the same reading, and jsonb can store it."""
    assert timestamps.MIN_TIMESTAMP <= reading.recorded_at <= timestamps.max_timestamp(NOW)
    payload = json.loads(reading.json)
    assert payload == reading.payload
    assert not strict_json.validate_object(payload, limit=16 * 1024)
    assert validation.to_json(validation.canonicalize(json.loads(reading.json))) == reading.json
    again = validation.parse(
        {
            "telemetry_type": reading.telemetry_type,
            "payload": payload,
            "recorded_at": timestamps.format_timestamp(reading.recorded_at),
        },
        device_id=DEVICE,
        now=NOW,
    )
    assert isinstance(again, ParsedReading), again
    assert again.id == reading.id
    assert reading.id.version == 8
    first, last = validation.time_span_of(reading.id)
    assert first <= reading.recorded_at < last
