"""A plugin (`-p tests.leaks`): no secret that the suite issues may be found where none belongs.

Every secret that `accounts.tokens.format.generate` hands out in this process is remembered. After
each test, before what it did is rolled back, they are looked for in what the site's own log
handlers have written, in the addresses that were asked for and redirected to, and in every column
of every table. What the journeys' own processes do is not seen here.
"""

import logging
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.client import Client
from pytest_django import DjangoDbBlocker

from accounts.tokens import format as token_format

SHAPE = token_format.TOKEN_PATTERN.pattern
HEX_SHAPE = r"7473[0-9a-f]{2}5f(?:[3-7][0-9a-f]){49}"
"""The same in a column of bytes, as PostgreSQL shows it."""
LINKS = re.compile(
    rf"^(?:https?://[^/]+)?/(?:sign-in/link|verify-email|password-reset|join)/{SHAPE}"
)
"""Where a secret has to be in an address: the links that are mailed or printed, opened once."""


class Watch:
    """What has been issued, and what has been said since the last look."""

    def __init__(self) -> None:
        self.issued: set[str] = set()
        self.unseen = False
        self.logged: list[str] = []
        self.addresses: list[str] = []
        self.blocker: DjangoDbBlocker | None = None

    def found(self, texts: Iterable[str]) -> Iterator[str]:
        """The issued secrets that are in these texts."""
        for text in texts:
            yield from self.issued.intersection(re.findall(SHAPE, text))
            plain = (bytes.fromhex(found).decode() for found in re.findall(HEX_SHAPE, text))
            yield from self.issued.intersection(plain)

    def look(self, *, database: bool) -> list[str]:
        """Where issued secrets are now that should not be, as sentences."""
        said = [f"a log line has {one}" for one in self.found(self.logged)]
        asked = [address for address in self.addresses if not LINKS.match(address)]
        said += [f"an address has {one}" for one in self.found(asked)]
        if database and self.unseen:
            said += [
                f"the table {table} has {one}"
                for table, row in suspicious_rows()
                for one in self.found([row])
            ]
        self.logged, self.addresses, self.unseen = [], [], False
        return said


watch = Watch()


def suspicious_rows() -> Iterator[tuple[str, str]]:
    """Every row of every table in which there is something of a secret's shape, as text."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT oid::regclass::text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                AND NOT relispartition
            """
        )
        tables = [name for (name,) in cursor.fetchall()]
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{table}', row::text FROM {table} AS row WHERE row::text ~ %(shape)s"  # noqa: S608
                for table in tables
            ),
            {"shape": f"{SHAPE}|{HEX_SHAPE}"},
        )
        yield from cursor.fetchall()


@pytest.fixture(scope="session", autouse=True)
def _watched(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Remember secrets, log lines and addresses for as long as the session lasts."""
    watch.blocker = django_db_blocker
    make, request, write = token_format.generate, Client.request, logging.Handler.format
    ours = set(settings.LOGGING["handlers"])

    def make_and_remember(prefix: str) -> token_format.PlaintextToken:
        secret = make(prefix)
        watch.issued.add(secret.text)
        watch.unseen = True
        return secret

    def request_and_remember(client: Client, **environ: Any) -> Any:
        watch.addresses.append(f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        response = request(client, **environ)
        watch.addresses.append(response.get("Location", ""))
        return response

    def write_and_remember(handler: logging.Handler, record: logging.LogRecord) -> str:
        line = write(handler, record)
        # Those of pytest see records that no filter of ours has seen.
        if handler.name in ours:
            watch.logged.append(line)
        return line

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_format, "generate", make_and_remember)
        patch.setattr(Client, "request", request_and_remember)
        patch.setattr(logging.Handler, "format", write_and_remember)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield
    uses_database = "_django_db_helper" in getattr(item, "fixturenames", ())
    uses_database = uses_database and not connection.needs_rollback
    if watch.blocker is None:
        return result
    with watch.blocker.unblock():
        leaks = watch.look(database=uses_database)
    if leaks:
        pytest.fail("\n".join(leaks), pytrace=False)
    return result
