"""Query parameters of URLs: their number is limited, and many cost no more queries than none."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from telemetry_site.middleware.http import MAX_QUERY_PARAMETERS
from tests.malformed_input.endpoints import schema
from tests.problems import read_problem
from tests.telemetry_site.test_matrix import World, all_routes, find_route

pytestmark = pytest.mark.unmeasured

PAGES = ["key", "q", "sort", "page", "range", "from", "to", "before", "metadata", "p"]
"""Names of parameters that pages and the admin read."""
EXEMPT = ("livez", "readyz", "metrics")
"""These respond before query parameters are checked."""


@pytest.fixture
def world(db: None, settings: Any, tmp_path: Path) -> World:
    settings.DATA_EXPORT_DIR = tmp_path
    return World(tmp_path)


def readable_routes() -> list[tuple[str, str]]:
    """Return every route that accepts GET, with a client that has access."""
    found = []
    for route, _ in all_routes():
        line = find_route(route)
        if line and "GET" in line.methods and route not in EXEMPT:
            who = "super" if route.startswith("admin") else "owner"
            if route.startswith("api/"):
                who = "device" if line.access in ("device", "device's") else "full"
            found.append((route, who))
    return found


def parameters_of(route: str) -> list[str]:
    """Return the names of a route's query parameters in the schema."""
    path = "/" + route.replace("<uuid:", "{").replace("<key:", "{").replace(">", "}")
    operation = schema()["paths"].get(path, {}).get("get", {})
    names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    return [name.replace("<key>", "k") for name in names] or PAGES


def send_query(world: World, who: str, path: str, query: list[tuple[str, str]]) -> tuple[Any, int]:
    """Return the response and the number of database queries."""
    with CaptureQueriesContext(connection) as captured:
        answer = world.ask(who, "GET", f"{path}?{urlencode(query)}")
    return answer, len(captured)


def repeated(names: list[str], most: int) -> list[tuple[str, str]]:
    """Return this number of parameters with repeated names."""
    return [(names[number % len(names)], "1") for number in range(most)]


def unknown(most: int) -> list[tuple[str, str]]:
    """Return this number of parameters with different names; lists of devices read them as metadata
    keys.
    """
    return [(f"metadata.k{number}", "1") for number in range(most)]


def test_parameters_over_the_limit_are_400_before_the_view_runs(world):
    wrong = []
    for route, who in readable_routes():
        for query in (unknown(2000), repeated(parameters_of(route), MAX_QUERY_PARAMETERS + 1)):
            answer, queries = send_query(world, who, world.path(route), query)
            # The savepoint of `ask`, and the device for which a rejection is counted.
            if answer.status_code != 400 or queries > 5:
                wrong.append(f"{route}: {answer.status_code} after {queries} queries")
            elif route.startswith("api/"):
                assert str(MAX_QUERY_PARAMETERS) in read_problem(answer, 400)["detail"]
    assert not wrong, "\n".join(wrong)


def test_the_maximum_of_parameters_takes_no_more_queries_than_none(world):
    wrong = []
    for route, who in readable_routes():
        path = world.path(route)
        _, most = send_query(world, who, path, [])
        for query in (
            unknown(MAX_QUERY_PARAMETERS),
            repeated(parameters_of(route), MAX_QUERY_PARAMETERS),
        ):
            answer, taken = send_query(world, who, path, query)
            if answer.status_code >= 500 or taken > most + 3:
                name = query[0][0]
                wrong.append(f"{route}, {name}: {answer.status_code}, {taken} for {most} queries")
    assert not wrong, "\n".join(wrong)
