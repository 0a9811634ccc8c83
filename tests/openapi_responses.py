"""A plugin (`-p tests.openapi_responses`): every response of the API that the suite receives with
Django's test client is as docs/openapi.yaml describes it. A test with another response fails.
"""

import json
import re
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.http import HttpResponse
from django.test import Client
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "openapi.yaml"
URI = "urn:openapi"
JSON = ("application/json", "application/problem+json")

faults: list[str] = []
"""Of the responses since the last look."""


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document with its schemas in the form of JSON Schema."""
    loaded = yaml.load(DOCUMENT.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return as_json_schema(loaded)  # type: ignore[no-any-return]


def as_json_schema(node: Any) -> Any:
    """Replace `nullable` of OpenAPI 3.0, which JSON Schema does not know."""
    if isinstance(node, list):
        return [as_json_schema(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    schema = {name: as_json_schema(inner) for name, inner in node.items()}
    if schema.pop("nullable", None) is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


@cache
def registry() -> Registry[Any]:
    resource = Resource(contents=document(), specification=DRAFT202012)
    return Registry().with_resource(URI, resource)  # type: ignore[no-any-return]


@cache
def templates() -> list[tuple[re.Pattern[str], str]]:
    """Return the paths as patterns; those with fewer parameters come first."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path) for path in paths]


@cache
def validator(path: str, method: str, status: str, media_type: str) -> Draft202012Validator | None:
    """Return the validator of a response; None if the document has none."""
    responses = document()["paths"][path].get(method, {}).get("responses", {})
    names = [
        name
        for name in (status, "default")
        if media_type in responses.get(name, {}).get("content", {})
    ]
    if not names:
        return None
    steps = ("paths", path, method, "responses", names[0], "content", media_type, "schema")
    pointer = "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)
    return Draft202012Validator({"$ref": f"{URI}#/{pointer}"}, registry=registry())


def faults_of(method: str, path: str, response: HttpResponse) -> Iterator[str]:
    """Yield what a response has that the document does not describe."""
    found = next((name for pattern, name in templates() if pattern.match(path)), None)
    media_type = response.get("Content-Type", "").partition(";")[0]
    if found is None or method not in document()["paths"][found] or media_type not in JSON:
        return
    check = validator(found, method, str(response.status_code), media_type)
    name = f"{method.upper()} {found}, {response.status_code} {media_type}"
    if check is None:
        yield f"{name}: not in the document"
        return
    for error in check.iter_errors(json.loads(response.content)):
        yield f"{name}: {error.json_path}: {error.message[:300]}"


@pytest.fixture(scope="session", autouse=True)
def _checked() -> Iterator[None]:
    """Check each response for as long as the session lasts."""
    request = Client.request

    def request_and_check(client: Client, **environ: Any) -> Any:
        response = request(client, **environ)
        path = environ["PATH_INFO"]
        if path.startswith("/api/") and not response.streaming and response.content:
            faults.extend(faults_of(environ["REQUEST_METHOD"].lower(), path, response))
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "request", request_and_check)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield
    if faults:
        found = list(dict.fromkeys(faults))
        faults.clear()
        pytest.fail("\n".join(found), pytrace=False)
    return result
