"""No query string of a page or an endpoint causes a server error."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from django.conf import settings as django_settings
from django.http import QueryDict
from django.test import Client

from tests.conftest import close
from tests.e2e.sites import ROOT
from tests.telemetry_site.admin.test_bad_input import NUL, TEXTS, places
from tests.telemetry_site.test_matrix import World, all_routes, find_route, world

__all__ = ["world"]

pytestmark = pytest.mark.unmeasured

SCHEMA = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
SAME_FOR_ALL = ("limit", "cursor", "zzz", "user__password__startswith")
VALUES = [*TEXTS, *list(places())[-3:], "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
GOOD = {
    "api/v1/devices/<uuid:device_id>/telemetry/series": {
        "key": "environment.temperature",
        "from": "2025-06-15T00:00:00Z",
        "to": "2025-06-16T00:00:00Z",
    }
}
"""Parameters that are required before any other is read."""
ROUTES = [
    route
    for route, _ in all_routes()
    if not route.startswith("admin") and "GET" in getattr(find_route(route), "methods", ())
]


def documented(route: str) -> set[str]:
    """Return the query parameters that the schema of the API describes."""
    path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
    told = SCHEMA["paths"].get(path, {}).get("get", {}).get("parameters", [])
    return {one["name"].replace("<key>", "site") for one in told if one["in"] == "query"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of query parameters that views have read."""
    names: set[str] = set()
    for method in ("__getitem__", "getlist"):
        original = getattr(QueryDict, method)

        def note(self: QueryDict, name: str, *given: Any, original: Any = original) -> Any:
            names.add(name)
            return original(self, name, *given)

        monkeypatch.setattr(QueryDict, method, note)
    return names


def wrong(world: World, read: set[str], route: str) -> list[str]:
    """Return the queries that caused a server error."""
    client = Client(raise_request_exception=False)
    if route.startswith("api/"):
        kind = "device" if re.match(r"api/v1/device(/|$)", route) else "full"
        client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {world.bearers[kind]}"
    client.cookies[django_settings.SESSION_COOKIE_NAME] = world.cookies["owner"]

    def status(**query: str) -> int:
        answer = client.get(f"{world.path(route)}?{urlencode({**GOOD.get(route, {}), **query})}")
        close(answer)
        return answer.status_code

    read.clear()
    assert status() < (400 if route in GOOD else 500), route
    names = {name for name in read if isinstance(name, str)} | documented(route)
    return [
        f"{route}: {name}={value[:100]!r}"
        for name in {*names, *SAME_FOR_ALL}
        for value in (VALUES if name in names else ("zzz", NUL))
        if status(**{name: value}) >= 500
    ]


@pytest.mark.parametrize("is_api", [True, False], ids=["api", "pages"])
def test_no_query_causes_a_server_error(world: World, read: set[str], is_api: bool) -> None:
    routes = [route for route in ROUTES if route.startswith("api/") is is_api]
    found = [one for route in routes for one in wrong(world, read, route)]
    assert not found, "\n".join(found)


def test_the_parameters_of_lists_are_detected(world: World, read: set[str]) -> None:
    assert {"limit", "cursor", "status"} <= documented("api/v1/devices")
    wrong(world, read, "devices/rows")
    assert {"q", "status", "type"} & read
