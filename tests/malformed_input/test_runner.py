"""Bad input to every writing endpoint of the site as `make run` starts it.

A part of it, in which every case and every endpoint is: all of it is `make resilience
NAMES=malformed_input`.
"""

from collections.abc import Iterator
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.db import connection

from resilience.site import Serving
from tests.malformed_input.corpus import CASES
from tests.malformed_input.endpoints import endpoints
from tests.malformed_input.fixtures import make_cast
from tests.malformed_input.runner import LIMITS, barrage, part

pytestmark = pytest.mark.unmeasured

SHARE = 16


@pytest.fixture
def database(transactional_db: None) -> Iterator[psycopg.Connection]:
    """Another connection to the tests' own."""
    with psycopg.connect(url(), autocommit=True) as opened:
        yield opened


def url() -> str:
    """Where the tests keep their database, as DATABASE_URL."""
    given = connection.get_connection_params()
    where = urlencode({"host": given["host"], "port": given["port"]})
    secret = f":{quote(given['password'], safe='')}" if given.get("password") else ""
    return f"postgres://{quote(given['user'])}{secret}@/{quote(given['dbname'])}?{where}"


def test_the_corpus_is_as_large_as_it_is_meant_to_be() -> None:
    assert len(CASES) >= 150
    assert {part(SHARE)(i, n) for i in range(SHARE) for n in range(SHARE)} == {True, False}
    assert len(endpoints()) > SHARE


def test_bad_input_is_refused_and_changes_nothing(database: psycopg.Connection) -> None:
    cast = make_cast()
    with Serving(url(), **LIMITS) as site:
        processes = {process.pid for process in site.workers()}
        report = barrage(site.port, database, cast, CASES, chosen=part(SHARE))
        assert {process.pid for process in site.workers()} == processes
        said = site.log.read_text()
    print(report, said)  # noqa: T201 - pytest shows it when the test failed
    assert not report.faults, "\n".join(report.faults)
    assert "Traceback" not in said
    assert "panicked" not in said
    assert report.requests > 450
