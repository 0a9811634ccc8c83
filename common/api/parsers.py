"""Parsers of API request bodies."""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from common import strict_json
from common.api import content_encoding

UTF8_CHARSETS = {"utf-8", "utf8", "us-ascii"}
"""Names of UTF-8 and of US-ASCII, which is a subset of it."""


def iter_body(
    stream: IO[bytes], meta: Mapping[str, Any], *, limit: int, inflated_limit: int
) -> Iterator[bytes]:
    """Yield a body in chunks, decompressed if it is compressed. `meta` is the request's META.

    Raises BodyTooLarge, UnsupportedMediaType, ParseError.
    """
    encoding, total = meta.get("HTTP_CONTENT_ENCODING"), 0
    is_uncompressed = encoding in (None, "identity")
    try:
        for chunk in content_encoding.iter_decoded(
            stream, encoding or "identity", limit=limit if is_uncompressed else inflated_limit
        ):
            total += len(chunk)
            yield chunk
    except content_encoding.UnsupportedEncoding as error:
        raise UnsupportedMediaType(meta.get("CONTENT_TYPE", ""), str(error)) from None
    except content_encoding.CorruptBody as error:
        raise ParseError(str(error)) from None
    length = 0 if "HTTP_TRANSFER_ENCODING" in meta else int(meta.get("CONTENT_LENGTH") or 0)
    if is_uncompressed and total < length:
        raise ParseError("The body ended before its Content-Length.")


class RawBodyParser(BaseParser):
    """Returns the decompressed bytes of the body."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        _, parameters = parse_header_parameters(media_type or self.media_type)
        if parameters.get("charset", "utf-8").lower() not in UTF8_CHARSETS:
            raise UnsupportedMediaType(
                media_type or "", "JSON must be UTF-8; no other charset is supported."
            )
        meta = parser_context["request"].META if parser_context else {}
        limits = {"limit": settings.BODY_LIMIT, "inflated_limit": settings.MAX_DECOMPRESSED_BODY}
        return b"".join(iter_body(stream, meta, **limits))


class NDJSONParser(RawBodyParser):
    """Returns the decompressed bytes of a body with one JSON value per line."""

    media_type = "application/x-ndjson"


class JSONParser(RawBodyParser):
    """Parses JSON whose values can all be stored unchanged. Raises InvalidJSONValue."""

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
