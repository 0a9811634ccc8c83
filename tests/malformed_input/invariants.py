"""What holds of every parser, whatever bytes it is given.

Each function takes bytes and raises AssertionError, or any exception that its parser does not
tell of. Tests run them over the corpus, `make resilience NAMES=fuzz` under a fuzzer that looks for
bytes that get somewhere new.
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
from telemetry.ingest.validation import InvalidReadings, Reading
from telemetry.transfer import import_parser

DEVICE = UUID("01890000-0000-7000-8000-000000000001")
NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
INFLATED = 100_000
"""Bytes that a body may have when it is inflated."""


def a_body_of_readings(raw: bytes) -> None:
    """Read quickly or slowly it is the same, and what is valid is so again."""
    by_lines = raw[:1] == b"\n"
    with suppress(JSONSyntaxError, InvalidReadings, decoding.TooManyReadings):
        body = decoding.decode(raw, by_lines=by_lines)
        valid, rejected = _parsed(body)
        assert len(valid) + len(rejected) == len(body.values)
        for reading in valid:
            _is_stable(reading)
        slowly = decoding.DecodedBody(_slowly(raw, by_lines=by_lines), body.at, body.is_list)
        again, rejected_again = _parsed(slowly)
        assert [reading.id for reading in again] == [reading.id for reading in valid]
        assert [reading.json for reading in again] == [reading.json for reading in valid]
        assert rejected_again.keys() == rejected.keys()


def free_json_of_any_kind(raw: bytes) -> None:
    """What has no fault can be written, and read again as the same."""
    with suppress(JSONSyntaxError):
        value = strict_json.decode(raw)
        # An answer must be able to say it.
        faults = strict_json.validate(value)
        for fault in faults:
            fault.pointer.encode()
        if not faults:
            text = msgspec.json.encode(value)
            assert "\0" not in json.dumps(value, ensure_ascii=False)
            assert strict_json.decode(text) == value
            assert json.loads(text) == value


def a_time(raw: bytes) -> None:
    """In UTC, and shown as what is read as the same."""
    with suppress(UnicodeDecodeError, timestamps.InvalidTimestamp):
        text = raw.decode()
        found = timestamps.parse(text)
        assert found.utcoffset() == timedelta(0)
        shown = timestamps.format_timestamp(found)
        assert timestamps.parse(shown) == found
        assert shown.isascii()
        assert len(shown) == 27


def a_key(raw: bytes) -> None:
    """The paths of a payload's values are as many as its values, each told by both ways to tell."""
    with suppress(JSONSyntaxError):
        payload = strict_json.decode(raw)
        if not strict_json.validate_object(payload, limit=16 * 1024) and payload:
            reading = validation.build_reading(DEVICE, "fuzz", payload, NOW)
            slowly = tuple(path for path, _ in validation.iter_values(reading.payload))
            assert reading.keys() == slowly
            assert len(slowly) <= strict_json.LEAF_LIMIT


def a_secret(raw: bytes) -> None:
    """Told by its checksum, and hidden wherever it is."""
    text = raw.decode("latin-1")
    with suppress(token_format.MalformedToken):
        found = token_format.parse(text, "tsd", "tsu")
        assert len(found.digest) == 32
        assert found.text == text
        assert text.isascii()
        assert text[token_format.VISIBLE_LENGTH :] not in token_format.mask_tokens(f"a {text} b")
        changed = f"{text[:9]}{'A' if text[9] != 'A' else 'B'}{text[10:]}"
        try:
            token_format.parse(changed, "tsd", "tsu")
        except token_format.MalformedToken:
            return
        raise AssertionError("another secret has the same checksum")


def a_compressed_body(raw: bytes) -> None:
    """Never more than may be, and no error but those it tells of."""
    for encoding in ("gzip", "zstd", "", "br"):
        with suppress(
            compressed.UnsupportedEncoding, compressed.CorruptBody, compressed.BodyTooLarge
        ):
            pieces = compressed.iter_decoded(io.BytesIO(raw), encoding, limit=INFLATED)
            assert sum(map(len, pieces)) <= INFLATED


def a_file_of_readings(raw: bytes) -> None:
    """Each row a reading that is stable, or refused on its line with a reason."""
    file = io.BytesIO(raw)
    with suppress(import_parser.UnreadableFile):
        layout = import_parser.detect_layout(file)
        last = 0
        for row in _rows(file, layout):
            if isinstance(row, Reading):
                _is_stable(row)
            else:
                assert row.line > last
                assert row.reason
                last = row.line


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        a_body_of_readings,
        free_json_of_any_kind,
        a_time,
        a_key,
        a_secret,
        a_compressed_body,
        a_file_of_readings,
    )
}


def _parsed(body: decoding.DecodedBody) -> tuple[list[Reading], dict[int, Any]]:
    return validation.parse_all(
        body.values, device_id=DEVICE, now=NOW, at=body.at, is_list=body.is_list
    )


def _slowly(raw: bytes, *, by_lines: bool) -> list[Any]:
    """The values of a body, none of them as what readings usually are."""
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


def _is_stable(reading: Reading) -> None:
    """Sent again as it is stored it is the same reading, and jsonb can hold it."""
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
    assert isinstance(again, Reading), again
    assert again.id == reading.id
    assert reading.id.version == 8
    first, last = validation.time_span_of(reading.id)
    assert first <= reading.recorded_at < last
