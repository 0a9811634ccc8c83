"""All bad input to every writing endpoint, and any JSON through every way in and back."""

import json
import os
import time
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from resilience.server import PostgreSQL
from resilience.site import Client, Site
from tests.malformed_input.corpus import CASES
from tests.malformed_input.endpoints import endpoints
from tests.malformed_input.entry_points import ENTRY_POINTS, EntryPoint, Response
from tests.malformed_input.free_json import Sent, sent_objects
from tests.malformed_input.runner import LIMITS, Cast, run_cases

EXAMPLES = int(os.environ.get("INPUT_EXAMPLES", "1000"))
CAST = """
import json
from tests.malformed_input.fixtures import make_cast
cast = make_cast()
print(json.dumps({"ids": cast.ids, "tokens": cast.tokens, "spare": cast.spare}))
"""


def run() -> list[str]:
    """Run all cases on one site, without rate limits."""
    with PostgreSQL() as server, Site(server.url, **LIMITS) as site, server.connect() as database:
        processes = {process.pid for process in site.workers()}
        report = run_cases(site.port, database, Cast(**json.loads(made(site))), CASES)
        print(f"  {len(CASES)} cases x {len(endpoints())} endpoints: {report}", flush=True)
        faults = report.faults
        for way in ENTRY_POINTS:
            faults += round_trips(way, Across(site, database))
        if {process.pid for process in site.workers()} != processes:
            faults.append("a process of the site has ended")
        for word in ("Traceback", "panicked"):
            if word in (log := site.log.read_text()):
                faults.append(f"in the log: {log[log.index(word) :][:3000]}")
    return faults


def made(site: Site) -> str:
    return site.manage("shell", "--no-imports", "-c", CAST)


class Across:
    """Speaks to a site in other processes."""

    def __init__(self, site: Site, database: psycopg.Connection[Any]) -> None:
        self.device_id = site.cast["ids"][0]
        self.clients = {
            "owner": Client(site.port, site.cast["owner"]),
            "device": Client(site.port, site.cast["devices"][0]),
        }
        self.database = database

    def ask(
        self, who: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Response:
        found = self.clients[who].ask(method, path, body, **headers)
        return Response(found.status, json.loads(found.body) if found.body else None)

    def rows(self, table: str) -> int:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        return int(self.database.execute(query).fetchall()[0][0])


def round_trips(way: EntryPoint, speaker: Across) -> list[str]:
    """EXAMPLES of it, and the smallest that fails."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(sent_objects())
    def try_it(example: Sent) -> None:
        way.try_it(speaker, example)

    started = time.monotonic()
    try:
        try_it()
    except (AssertionError, OSError) as error:
        return [f"{way.name}: {str(error)[:2000]}"]
    finally:
        print(f"  {EXAMPLES} as {way.name}: {time.monotonic() - started:.0f} s", flush=True)
    return []
