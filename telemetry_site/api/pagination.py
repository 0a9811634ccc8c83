"""Keyset pagination of the API."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rest_framework import exceptions, pagination
from rest_framework.request import Request
from rest_framework.response import Response

from common import timestamps

LIMIT = re.compile(r"[0-9]{1,4}", re.ASCII)
"""The format of `limit`. Other texts are rejected before they are converted to a number."""


class KeysetPagination(pagination.CursorPagination):
    """`limit` (1 to 1000, default 100) and an opaque `cursor`; equally fast at any depth."""

    page_size = 100
    max_page_size = 1000
    ordering = ("-created_at", "-id")

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit", str(self.page_size))
        if not (LIMIT.fullmatch(text) and 1 <= int(text) <= self.max_page_size):
            raise exceptions.ValidationError(
                {"limit": [f"Must be from 1 to {self.max_page_size}."]}
            )
        return int(text)

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound:
            cursor = pagination.Cursor(offset=0, reverse=False, position=None)
        # An empty cursor would return the first page again, and a client that reads all pages would
        # never end.
        if cursor is not None and cursor.position is None and not cursor.offset:
            raise exceptions.ValidationError({"cursor": ["Invalid cursor."]})
        if cursor is not None and cursor.position is not None:
            try:
                position = str(timestamps.parse(cursor.position))
                cursor = pagination.Cursor(cursor.offset, cursor.reverse, position)  # type: ignore[arg-type]
            except timestamps.InvalidTimestamp:
                raise exceptions.ValidationError({"cursor": ["Invalid cursor."]}) from None
        return cursor

    def encode_cursor(self, cursor: pagination.Cursor) -> str:
        link = super().encode_cursor(cursor)
        return parse_qs(urlsplit(link).query)[self.cursor_query_param][0]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_schema_operation_parameters(self, view: object) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": self.max_page_size}
        return [
            {"name": "limit", "in": "query", "schema": {**limit, "default": self.page_size}},
            {"name": "cursor", "in": "query", "schema": {"type": "string"}},
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {"type": "string", "nullable": True, "description": "Cursor."},
            },
        }
