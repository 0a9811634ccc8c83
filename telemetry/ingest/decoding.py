"""Decode a request body: one reading, an array, `{"readings": [...]}`, or NDJSON."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

from common import strict_json
from common.strict_json import JSONError, duplicate_key_error
from telemetry.ingest.validation import InvalidReadings, RawReading

ENVELOPE = re.compile(rb'\s*\{\s*"readings"\s*:')
SPACED_COLONS = (b" :", b"\t:", b"\n:", b"\r:")
NUL = rb"\u0000"


class TooManyReadings(Exception):
    """The body has more readings than READINGS_PER_REQUEST."""


class DecodedBody(NamedTuple):
    """The readings of a body, each as a RawReading, as decoded JSON, or as its syntax error."""

    values: Sequence[Any]
    pointer: str
    """JSON Pointer to the list of readings."""
    is_list: bool


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    readings: list[RawReading]


_reading_decoder = msgspec.json.Decoder(RawReading)
_list_decoder = msgspec.json.Decoder(list[RawReading])
_envelope_decoder = msgspec.json.Decoder(_Envelope)


def decode(raw: bytes, *, by_lines: bool = False) -> DecodedBody:
    """Return the readings of a body without validating them.

    In NDJSON, a line that is not valid JSON does not affect the other lines. Raises
    JSONSyntaxError, InvalidReadings, TooManyReadings.
    """
    if by_lines:
        # Checked before decoding: a megabyte of line ends would be a million lines.
        if raw.count(b"\n") > 2 * settings.READINGS_PER_REQUEST:
            raise TooManyReadings
        body = decode_fast(raw, by_lines=True) or DecodedBody(_decode_ndjson(raw), "", True)
    else:
        body = decode_fast(raw) or _decode(raw)
    if len(body.values) > settings.READINGS_PER_REQUEST:
        raise TooManyReadings
    return body


def decode_fast(raw: bytes, *, by_lines: bool = False) -> DecodedBody | None:
    """Return the body if msgspec can decode every reading safely, else None.

    None means that the slow decoder must decide whether the body is valid.
    """
    if NUL in raw or any(colon in raw for colon in SPACED_COLONS):
        return None
    try:
        if by_lines:
            body = DecodedBody(_reading_decoder.decode_lines(raw), "", True)
            # msgspec also accepts two values on one line.
            if len(body.values) != sum(map(bool, map(bytes.strip, raw.split(b"\n")))):
                return None
        elif ENVELOPE.match(raw):
            body = DecodedBody(_envelope_decoder.decode(raw).readings, "/readings", True)
        elif raw.lstrip().startswith(b"["):
            body = DecodedBody(_list_decoder.decode(raw), "", True)
        else:
            body = DecodedBody([_reading_decoder.decode(raw)], "", False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # Every key ends in `":`, and a string may contain it too. Equal counts prove that there is no
    # duplicate key.
    keys = len(body.values) * 2 + (body.pointer != "")
    for raw_reading in body.values:
        keys += raw_reading.recorded_at is not msgspec.UNSET
        keys += strict_json.count_keys(raw_reading.payload)
    return body if raw.count(b'":') == keys else None


def _decode(raw: bytes) -> DecodedBody:
    value = strict_json.decode(raw)
    if isinstance(value, list):
        return DecodedBody(value, "", True)
    if not (isinstance(value, dict) and set(value) == {"readings"}):
        return DecodedBody([value], "", False)
    if duplicate_key := duplicate_key_error(value, at=""):
        raise InvalidReadings([duplicate_key])
    if not isinstance(value["readings"], list):
        raise InvalidReadings([JSONError("/readings", "not-a-list", "Must be a list of readings.")])
    return DecodedBody(value["readings"], "/readings", True)


def _decode_ndjson(raw: bytes) -> list[Any]:
    values: list[Any] = []
    for line in raw.split(b"\n"):
        if line.strip():
            try:
                values.append(strict_json.decode(line))
            except strict_json.JSONSyntaxError as error:
                values.append(error)
    return values
