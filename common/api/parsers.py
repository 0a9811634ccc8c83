"""How the bodies of requests to the API are read."""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from common import strict_json
from common.api import content_encoding

UTF8_CHARSETS = {"utf-8", "utf8", "us-ascii"}
"""Charsets that are that or a part of it."""


def iter_body(
    stream: IO[bytes], sent: Mapping[str, Any], *, limit: int, inflated_limit: int
) -> Iterator[bytes]:
    """A body a piece at a time, inflated if it comes deflated; `sent` is the request's META.

    Raises BodyTooLarge, UnsupportedMediaType, ParseError.
    """
    encoding, total = sent.get("HTTP_CONTENT_ENCODING"), 0
    as_it_is = encoding in (None, "identity")
    try:
        for chunk in content_encoding.iter_decoded(
            stream, encoding or "identity", limit=limit if as_it_is else inflated_limit
        ):
            total += len(chunk)
            yield chunk
    except content_encoding.UnsupportedEncoding as error:
        raise UnsupportedMediaType(sent.get("CONTENT_TYPE", ""), str(error)) from None
    except content_encoding.CorruptBody as error:
        raise ParseError(str(error)) from None
    length = 0 if "HTTP_TRANSFER_ENCODING" in sent else int(sent.get("CONTENT_LENGTH") or 0)
    if as_it_is and total < length:
        raise ParseError("The body ended before its Content-Length.")


class RawBodyParser(BaseParser):
    """The body as it was before it was deflated, if at all."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        _, parameters = parse_header_parameters(media_type or self.media_type)
        if parameters.get("charset", "utf-8").lower() not in UTF8_CHARSETS:
            raise UnsupportedMediaType(media_type or "", "JSON is UTF-8; no other charset is read.")
        sent = parser_context["request"].META if parser_context else {}
        limits = {"limit": settings.BODY_LIMIT, "inflated_limit": settings.MAX_DECOMPRESSED_BODY}
        return b"".join(iter_body(stream, sent, **limits))


class NDJSONParser(RawBodyParser):
    """The same of a body that has a JSON value on each line."""

    media_type = "application/x-ndjson"


class JSONParser(RawBodyParser):
    """JSON in UTF-8 of which every value can be stored as it is. Raises InvalidJSON."""

    leaf_limit = strict_json.LEAF_LIMIT

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            value = strict_json.decode(super().parse(stream, media_type, parser_context))
        except strict_json.JSONSyntaxError as error:
            raise ParseError(str(error)) from None
        if faults := strict_json.validate(value, leaf_limit=self.leaf_limit):
            raise strict_json.InvalidJSONValue(faults)
        return value
