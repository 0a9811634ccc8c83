"""Helpers for the pages of commands."""

import re

from django.http import HttpResponse

PARTIAL = {"HX-Request": "true"}
SCHEMA = {
    "type": "object",
    "required": ["target"],
    "properties": {
        "target": {"title": "Target", "type": "number", "minimum": 5, "maximum": 30},
        "place": {"title": "Place", "properties": {"room": {"type": "string"}}},
    },
}


def text(response: HttpResponse) -> str:
    return response.content.decode()


def error_at(page: str, field: str) -> str:
    found = re.search(rf'id="id_{field}_error">\s*<li>(.*?)</li>', page, re.DOTALL)
    return found[1] if found else ""
