"""How the bodies of requests to the API are read."""

from collections.abc import Mapping
from typing import IO, Any

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from devices import free_json


class JSONParser(BaseParser):
    """JSON in UTF-8, decoded; what may be stored of it the view decides."""

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
        raw = stream.read()
        promised = parser_context["request"].META.get("CONTENT_LENGTH") if parser_context else None
        if len(raw) < int(promised or 0):
            raise ParseError("The body ended before its Content-Length.")
        try:
            return free_json.decode(raw)
        except free_json.NotJSON as error:
            raise ParseError(str(error)) from None


class StrictJSONParser(JSONParser):
    """JSON of which every value can be stored as it is. Raises InvalidJSON."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        value = super().parse(stream, media_type, parser_context)
        if faults := free_json.check(value):
            raise free_json.InvalidJSON(faults)
        return value
