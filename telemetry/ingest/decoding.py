"""What a body of readings holds: one, an array, `{"readings": [...]}`, or JSON by lines."""

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
    """More readings than one request may bring."""


class DecodedBody(NamedTuple):
    """What was sent: each reading as decoded JSON, or already as what that fits into."""

    values: Sequence[Any]
    at: str
    """The pointer to the list."""
    is_list: bool


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    readings: list[RawReading]


_one = msgspec.json.Decoder(RawReading)
_many = msgspec.json.Decoder(list[RawReading])
_enveloped = msgspec.json.Decoder(_Envelope)


def decode(raw: bytes, *, by_lines: bool = False) -> DecodedBody:
    """The readings in a body, none of them checked any further.

    A line that is no JSON is only that line's fault. Raises NotJSON, InvalidReadings,
    TooManyReadings.
    """
    if by_lines:
        # Before it is decoded: a megabyte of line ends would be a million lines.
        if raw.count(b"\n") > 2 * settings.READINGS_PER_REQUEST:
            raise TooManyReadings
        body = decode_fast(raw, by_lines=True) or DecodedBody(_decode_ndjson(raw), "", True)
    else:
        body = decode_fast(raw) or _decode(raw)
    if len(body.values) > settings.READINGS_PER_REQUEST:
        raise TooManyReadings
    return body


def decode_fast(raw: bytes, *, by_lines: bool = False) -> DecodedBody | None:
    """The body, if every reading in it has the usual shape; None where there is any doubt."""
    if NUL in raw or any(colon in raw for colon in SPACED_COLONS):
        return None
    try:
        if by_lines:
            body = DecodedBody(_one.decode_lines(raw), "", True)
            # Two on one line it would read as well.
            if len(body.values) != sum(map(bool, map(bytes.strip, raw.split(b"\n")))):
                return None
        elif ENVELOPE.match(raw):
            body = DecodedBody(_enveloped.decode(raw).readings, "/readings", True)
        elif raw.lstrip().startswith(b"["):
            body = DecodedBody(_many.decode(raw), "", True)
        else:
            body = DecodedBody([_one.decode(raw)], "", False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # Every key ends in `":`, and a text may hold it too: equal counts prove no key came twice.
    keys = len(body.values) * 2 + (body.at != "")
    for sent in body.values:
        keys += (sent.recorded_at is not msgspec.UNSET) + strict_json.count_keys(sent.payload)
    return body if raw.count(b'":') == keys else None


def _decode(raw: bytes) -> DecodedBody:
    sent = strict_json.decode(raw)
    if isinstance(sent, list):
        return DecodedBody(sent, "", True)
    if not (isinstance(sent, dict) and set(sent) == {"readings"}):
        return DecodedBody([sent], "", False)
    if twice := duplicate_key_error(sent, at=""):
        raise InvalidReadings([twice])
    if not isinstance(sent["readings"], list):
        raise InvalidReadings([JSONError("/readings", "not-a-list", "A list of readings.")])
    return DecodedBody(sent["readings"], "/readings", True)


def _decode_ndjson(raw: bytes) -> list[Any]:
    values: list[Any] = []
    for line in raw.split(b"\n"):
        if line.strip():
            try:
                values.append(strict_json.decode(line))
            except strict_json.JSONSyntaxError as error:
                values.append(error)
    return values
