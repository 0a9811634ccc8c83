"""Every writing endpoint of the API as docs/openapi.yaml tells of it, with a good request to each.

A new endpoint is here by itself. Where a value that the schema allows is not yet good, GOOD tells
one by the name of the field.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import yaml

from tests.e2e.sites import ROOT
from tests.malformed_input.http_client import Request

WRITING = ("post", "put", "patch", "delete")
NOWHERE = UUID("01890000-0000-7000-8000-000000000000")
"""The id of nothing."""
TIME = "2025-06-15T11:00:00Z"
FILE = "/telemetry/import"

GOOD: dict[str, Any] = {
    "email": "nobody@example.org",
    "username": "nobody",
    "password": "no horse has this battery",
    "current": "no horse has this battery",
    "time_zone": "Europe/Vienna",
    "token": "tsv_" + "0" * 49,
    "command_name": "reboot",
    "telemetry_type": "environment",
    "unit": "V",
}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/auth/login": {"username": "nobody", "password": GOOD["password"]},
    "/api/v1/command-batches": {"command_name": "reboot", "devices": [str(NOWHERE)]},
    f"/api/v1/devices/{{device_id}}{FILE}": {
        "telemetry_type": "environment",
        "payload": {"a": 1},
        "recorded_at": TIME,
    },
    "/api/v1/users/me": {"time_zone": "Europe/Vienna"},
}
"""Where one of two fields must be given, or one would do harm."""


class Endpoint(NamedTuple):
    method: str
    path: str
    speakers: frozenset[str]
    """The names of the ways to say who one is; without any, nobody is asked."""
    fields: Mapping[str, Any]
    """The schemas of the fields of its body; none if it has no body."""
    needs: list[str]
    """Those that must be there."""
    body: Mapping[str, Any]
    """A good one."""
    media_type: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def has_body(self) -> bool:
        return bool(self.fields)

    @property
    def is_file(self) -> bool:
        """A file of readings, which has limits of its own."""
        return self.path.endswith(FILE)

    def request(self, ids: Mapping[str, str], tokens: Mapping[str, str]) -> Request:
        """A good request, to what has these ids, of whoever may."""
        if self.path == "/api/v1/tokens/{token_id}":
            ids = {**ids, "token_id": ids["user_token_id"]}
        target = re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], self.path).encode()
        headers = {}
        if token := next((tokens[way] for way in tokens if way in self.speakers), ""):
            headers["Authorization"] = f"Bearer {token}".encode()
        if not self.has_body:
            return Request(self.method, target, headers)
        headers["Content-Type"] = self.media_type.encode()
        return Request(self.method, target, headers, json.dumps(self.body).encode())

    def body_with(self, field: str, text: bytes) -> bytes:
        """The good body, with this JSON text as the value of the field."""
        others = {name: value for name, value in self.body.items() if name != field}
        before = json.dumps(others)[1:-1] + (", " if others else "")
        return b'{%b"%b": %b}' % (before.encode(), field.encode(), text)


@cache
def schema() -> Any:
    return yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())


@cache
def endpoints() -> list[Endpoint]:
    return [
        _endpoint(method, path, operation)
        for path, operations in schema()["paths"].items()
        for method, operation in operations.items()
        if method in WRITING
    ]


def resolved(part: Any) -> Any:
    """A schema without references and alternatives: of those the first."""
    while True:
        if "$ref" in part:
            part = schema()["components"]["schemas"][part["$ref"].rpartition("/")[2]]
        elif alternatives := part.get("oneOf") or part.get("allOf"):
            part = alternatives[0]
        else:
            return part


def _endpoint(method: str, path: str, operation: Any) -> Endpoint:
    content = operation.get("requestBody", {}).get("content", {})
    media_type = "application/x-ndjson" if path.endswith(FILE) else next(iter(content), "")
    wanted: Any = {"properties": {}}
    if path.endswith(FILE):
        # To the schema it is a text; it is a reading to a line.
        wanted = resolved({"$ref": "#/components/schemas/ReadingBodyRequest"})
    elif content:
        wanted = resolved(content[media_type]["schema"])
    fields, needs = wanted["properties"], wanted.get("required", [])
    body = {name: good(name, fields[name]) for name in needs or list(fields)[:1]}
    speakers = frozenset(way for ways in operation.get("security", []) for way in ways)
    return Endpoint(
        method.upper(),
        path,
        speakers,
        fields,
        needs,
        BODIES.get(path, body) if body else {},
        media_type,
    )


def good(name: str, part: Any) -> Any:
    """A value of the field with this name and schema."""
    part = resolved(part)
    if name in GOOD:
        return GOOD[name]
    if "enum" in part:
        return part["enum"][0]
    match part["type"]:
        case "object":
            return {"a": 1}
        case "array":
            return [good(name, part["items"])]
        case "integer" | "number":
            return part.get("minimum", 1)
        case "boolean":
            return True
    return {"uuid": str(NOWHERE), "date-time": TIME}.get(part.get("format", ""), "good")


def wrong_types(part: Any) -> dict[str, bytes]:
    """JSON that is of another type than the schema says, by a word for it."""
    part = resolved(part)
    others = {
        "a number": b"5",
        "a text": b'"5"',
        "true": b"true",
        "null": b"null",
        "an array": b"[]",
        "an object": b'{"a": 5}',
        "a fraction": b"0.5",
    }
    same = {
        "string": ["a text"],
        "integer": ["a number"],
        "number": ["a number", "a fraction"],
        "boolean": ["true"],
        "array": ["an array"],
        "object": ["an object"],
    }[part["type"]]
    same += ["null"] if part.get("nullable") else []
    return {name: text for name, text in others.items() if name not in same}
