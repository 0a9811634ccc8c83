"""The API reference page, generated from the OpenAPI schema.

Swagger UI would load 1.4 MB of scripts and violate the content security policy
(docs/decisions/0030).
"""

from collections import defaultdict
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

MAX_DEPTH = 6
"""Maximum nesting of an example, because a schema can refer to itself."""
EXAMPLES = {
    "uuid": "0198d6c4-8f2e-7b3a-9c1d-2e4f6a8b0c1d",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "user@example.org",
}
OF_TYPE = {"string": "…", "integer": 1, "number": 21.4, "boolean": True, "object": {}}


class Parameter(NamedTuple):
    """A parameter in the path, the query or the headers."""

    name: str
    place: str
    type: str
    required: bool
    description: str


class ResponseExample(NamedTuple):
    """An example of the response with a status."""

    status: str
    phrase: str
    example: Any


class Operation(NamedTuple):
    """One HTTP method of one path."""

    anchor: str
    method: str
    path: str
    summary: str
    parameters: list[Parameter]
    body: Any
    media_types: list[str]
    answers: list[ResponseExample]


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Show all operations of the API. The page is public."""
    return render(request, "reference.html", {"groups": operations()})


@cache
@translation.override("en")
def operations() -> list[tuple[str, list[Operation]]]:
    """Return the operations grouped by tag, ordered by path, in English like the API."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    groups: dict[str, list[Operation]] = defaultdict(list)
    for path, methods in schema["paths"].items():
        for method, found in methods.items():
            groups[found["tags"][0]].append(_operation(schema, method, path, found))
    return list(groups.items())


def _operation(schema: Any, method: str, path: str, found: Any) -> Operation:
    content = found.get("requestBody", {}).get("content", {})
    answers = [
        ResponseExample(status, HTTPStatus(int(status)).phrase, _of_content(schema, answer))
        for status, answer in found["responses"].items()
        if status.isdecimal()
    ]
    return Operation(
        found["operationId"],
        method.upper(),
        path,
        found.get("description", ""),
        [_parameter(one) for one in found.get("parameters", [])],
        _of_content(schema, found.get("requestBody", {})),
        list(content),
        answers,
    )


def _parameter(found: Any) -> Parameter:
    kind = found["schema"]
    of = kind.get("items", kind)
    words = [str(of.get("format") or of.get("type", ""))]
    if "enum" in of:
        words = [" | ".join(map(str, of["enum"]))]
    words += [f"{name[:3]} {of[name]}" for name in ("minimum", "maximum") if name in of]
    words += [f"= {kind['default']}"] if kind.get("default") not in (None, "", []) else []
    return Parameter(
        found["name"],
        found["in"],
        ", ".join(words),
        bool(found.get("required")),
        found.get("description", ""),
    )


def _of_content(schema: Any, found: Any) -> Any:
    for media_type, content in found.get("content", {}).items():
        if "json" in media_type:
            return _example(schema, content["schema"])
    return None


def _example(schema: Any, part: Any, depth: int = 0) -> Any:
    """Return an example value for a schema."""
    if "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    for name in ("allOf", "oneOf", "anyOf"):
        if name in part:
            return _example(schema, part[name][0], depth)
    if depth > MAX_DEPTH:
        return None
    if "enum" in part:
        return part["enum"][0]
    if part.get("type") == "array":
        return [_example(schema, part["items"], depth + 1)]
    if "properties" in part:
        return {
            name: _example(schema, inner, depth + 1) for name, inner in part["properties"].items()
        }
    if isinstance(part.get("additionalProperties"), dict) and part["additionalProperties"]:
        return {"…": _example(schema, part["additionalProperties"], depth + 1)}
    return EXAMPLES.get(part.get("format", ""), OF_TYPE.get(part.get("type", "object"), "…"))
