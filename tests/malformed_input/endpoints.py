"""Every writing endpoint of the API as in docs/openapi.yaml, with a valid request to each.

New endpoints are included automatically. GOOD has a valid value by field name where a value that
the schema allows is not enough.
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
"""An id that does not exist."""
TIME = "2025-06-15T11:00:00Z"
FILE = "/telemetry/import"

GOOD: dict[str, Any] = {
    "email": "unknown@example.org",
    "username": "unknown",
    "password": "no horse has this battery",
    "current": "no horse has this battery",
    "time_zone": "Europe/Vienna",
    "token": "tsv_" + "0" * 49,
    "command_name": "reboot",
    "telemetry_type": "environment",
    "unit": "V",
}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/auth/login": {"username": "unknown", "password": GOOD["password"]},
    "/api/v1/command-batches": {"command_name": "reboot", "devices": [str(NOWHERE)]},
    f"/api/v1/devices/{{device_id}}{FILE}": {
        "telemetry_type": "environment",
        "payload": {"a": 1},
        "recorded_at": TIME,
    },
    "/api/v1/users/me": {"time_zone": "Europe/Vienna"},
}
"""For endpoints where one of two fields is required, or where the default would do harm."""


class Endpoint(NamedTuple):
    method: str
    path: str
    security_schemes: frozenset[str]
    """The names of the accepted security schemes; empty for a public endpoint."""
    fields: Mapping[str, Any]
    """The schemas of the fields of its body; empty if it has no body."""
    required: list[str]
    """The names of the required fields."""
    body: Mapping[str, Any]
    """A valid body."""
    media_type: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def has_body(self) -> bool:
        return bool(self.fields)

    @property
    def is_file(self) -> bool:
        """Return True if the body is a file of readings, which has its own limits."""
        return self.path.endswith(FILE)

    def request(self, ids: Mapping[str, str], tokens: Mapping[str, str]) -> Request:
        """Return a valid, authorized request for the objects with these ids."""
        if self.path == "/api/v1/tokens/{token_id}":
            ids = {**ids, "token_id": ids["user_token_id"]}
        target = re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], self.path).encode()
        headers = {}
        if token := next((tokens[way] for way in tokens if way in self.security_schemes), ""):
            headers["Authorization"] = f"Bearer {token}".encode()
        if not self.has_body:
            return Request(self.method, target, headers)
        headers["Content-Type"] = self.media_type.encode()
        return Request(self.method, target, headers, json.dumps(self.body).encode())

    def body_with(self, field: str, text: bytes) -> bytes:
        """Return the valid body with this JSON text as the value of the field."""
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
    """Return a schema without references; of alternatives, the first."""
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
        # The schema calls it a string; each line of it is a reading.
        wanted = resolved({"$ref": "#/components/schemas/ReadingCreateRequest"})
    elif content:
        wanted = resolved(content[media_type]["schema"])
    fields, required = wanted["properties"], wanted.get("required", [])
    body = {name: good(name, fields[name]) for name in required or list(fields)[:1]}
    security_schemes = frozenset(way for ways in operation.get("security", []) for way in ways)
    return Endpoint(
        method.upper(),
        path,
        security_schemes,
        fields,
        required,
        BODIES.get(path, body) if body else {},
        media_type,
    )


def good(name: str, part: Any) -> Any:
    """Return a valid value for the field with this name and schema."""
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
    """Return JSON values of types that the schema does not allow, by a name for the type."""
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
