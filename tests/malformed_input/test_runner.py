"""Malformed input to every writing endpoint of the site as `make run` starts it.

A sample that includes every case and every endpoint; `make resilience NAMES=malformed_input` sends
all of it.
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
from tests.malformed_input.runner import LIMITS, run_cases, sample

pytestmark = pytest.mark.unmeasured

SHARE = 16


@pytest.fixture
def database(transactional_db: None) -> Iterator[psycopg.Connection]:
    """Open a second connection to the test database."""
    with psycopg.connect(database_url(), autocommit=True) as opened:
        yield opened


def database_url() -> str:
    """Return the DATABASE_URL of the test database."""
    given = connection.get_connection_params()
    where = urlencode({"host": given["host"], "port": given["port"]})
    secret = f":{quote(given['password'], safe='')}" if given.get("password") else ""
    return f"postgres://{quote(given['user'])}{secret}@/{quote(given['dbname'])}?{where}"


def test_the_corpus_and_the_list_of_endpoints_are_complete() -> None:
    assert len(CASES) >= 150
    assert {sample(SHARE)(i, n) for i in range(SHARE) for n in range(SHARE)} == {True, False}
    assert len(endpoints()) > SHARE


def test_malformed_input_is_rejected_and_changes_nothing(database: psycopg.Connection) -> None:
    cast = make_cast()
    with Serving(database_url(), **LIMITS) as site:
        processes = {process.pid for process in site.workers()}
        report = run_cases(site.port, database, cast, CASES, chosen=sample(SHARE))
        assert {process.pid for process in site.workers()} == processes
        said = site.log.read_text()
    print(report, said)  # noqa: T201 - pytest shows it when the test failed
    assert not report.faults, "\n".join(report.faults)
    assert "Traceback" not in said
    assert "panicked" not in said
    assert report.requests > 450
