"""The query of an address: how many parameters it may have, and that many cost no more."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from telemetry_site.middleware.http import PARAMETERS_LIMIT
from tests.malformed_input.endpoints import schema
from tests.problems import told
from tests.telemetry_site.test_matrix import World, all_routes, door_of

pytestmark = pytest.mark.unmeasured

PAGES = ["key", "q", "sort", "page", "range", "from", "to", "before", "metadata", "p"]
"""Names of parameters that pages and the admin know."""
UNASKED = ("livez", "readyz", "metrics")
"""Answered before an address is looked at."""


@pytest.fixture
def world(db: None, settings: Any, tmp_path: Path) -> World:
    settings.DATA_EXPORT_DIR = tmp_path
    return World(tmp_path)


def readable() -> list[tuple[str, str]]:
    """Every route that answers GET, and an actor that it lets in."""
    found = []
    for route, _ in all_routes():
        line = door_of(route)
        if line and "GET" in line.methods and route not in UNASKED:
            who = "super" if route.startswith("admin") else "owner"
            if route.startswith("api/"):
                who = "device" if line.door in ("device", "device's") else "full"
            found.append((route, who))
    return found


def known(route: str) -> list[str]:
    """The names of the parameters that the schema says a route has."""
    path = "/" + route.replace("<uuid:", "{").replace("<key:", "{").replace(">", "}")
    operation = schema()["paths"].get(path, {}).get("get", {})
    names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    return [name.replace("<key>", "k") for name in names] or PAGES


def asked(world: World, who: str, path: str, query: list[tuple[str, str]]) -> tuple[Any, int]:
    """The answer, and how many queries to the database it took."""
    with CaptureQueriesContext(connection) as captured:
        answer = world.ask(who, "GET", f"{path}?{urlencode(query)}")
    return answer, len(captured)


def repeated(names: list[str], most: int) -> list[tuple[str, str]]:
    """So many parameters, all with these names."""
    return [(names[number % len(names)], "1") for number in range(most)]


def unknown(most: int) -> list[tuple[str, str]]:
    """So many parameters, each with a name of its own; for lists of devices they are keys."""
    return [(f"metadata.k{number}", "1") for number in range(most)]


def test_more_parameters_than_the_limit_are_refused_before_the_view_is_asked(world):
    wrong = []
    for route, who in readable():
        for query in (unknown(2000), repeated(known(route), PARAMETERS_LIMIT + 1)):
            answer, queries = asked(world, who, world.path(route), query)
            # The transaction that `ask` takes back, and for which device a refusal is counted.
            if answer.status_code != 400 or queries > 5:
                wrong.append(f"{route}: {answer.status_code} after {queries} queries")
            elif route.startswith("api/"):
                assert str(PARAMETERS_LIMIT) in told(answer, 400)["detail"]
    assert not wrong, "\n".join(wrong)


def test_as_many_parameters_as_there_may_be_take_no_more_queries_than_none(world):
    wrong = []
    for route, who in readable():
        path = world.path(route)
        _, most = asked(world, who, path, [])
        for query in (unknown(PARAMETERS_LIMIT), repeated(known(route), PARAMETERS_LIMIT)):
            answer, taken = asked(world, who, path, query)
            if answer.status_code >= 500 or taken > most + 3:
                name = query[0][0]
                wrong.append(f"{route}, {name}: {answer.status_code}, {taken} for {most} queries")
    assert not wrong, "\n".join(wrong)
