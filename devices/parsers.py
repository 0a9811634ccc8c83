"""How the bodies of requests to the API are read."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from devices import bodies, free_json


class BytesParser(BaseParser):
    """The body as it was before it was deflated, if at all. Raises BodyTooLarge."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        _, parameters = parse_header_parameters(media_type or self.media_type)
        if parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8", "us-ascii"}:
            raise UnsupportedMediaType(media_type or "", "JSON is UTF-8; no other charset is read.")
        sent = parser_context["request"].META if parser_context else {}
        encoding = sent.get("HTTP_CONTENT_ENCODING", "")
        try:
            if encoding:
                return b"".join(bodies.chunks(stream, encoding, limit=settings.INFLATED_LIMIT))
            raw = stream.read()
        except bodies.UnknownEncoding as error:
            raise UnsupportedMediaType(media_type or "", str(error)) from None
        except bodies.DamagedBody as error:
            raise ParseError(str(error)) from None
        if len(raw) < int(sent.get("CONTENT_LENGTH") or 0):
            raise ParseError("The body ended before its Content-Length.")
        return raw


class LinesParser(BytesParser):
    """The same of a body that has a JSON value on each line."""

    media_type = "application/x-ndjson"


class JSONParser(BytesParser):
    """JSON in UTF-8 of which every value can be stored as it is. Raises InvalidJSON."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            value = free_json.decode(super().parse(stream, media_type, parser_context))
        except free_json.NotJSON as error:
            raise ParseError(str(error)) from None
        if faults := free_json.check(value):
            raise free_json.InvalidJSON(faults)
        return value
