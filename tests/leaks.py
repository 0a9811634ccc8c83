"""A plugin (`-p tests.leaks`): fails a test that leaks a token in plain text.

It records every token that `accounts.tokens.format.generate` returns in this process. After each
test, before its rollback, it searches for them in the lines of the site's log handlers, in the
requested URLs and redirect targets, and in every column of every table. It does not see the
processes that the e2e tests start.
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
"""The same pattern for a bytea column, which PostgreSQL displays in hex."""
LINKS = re.compile(
    rf"^(?:https?://[^/]+)?/(?:sign-in/link|verify-email|password-reset|join)/{SHAPE}"
)
"""URLs that must contain a token: mailed or printed links that are opened once."""


class LeakDetector:
    """The issued tokens, and the log lines and URLs since the last check."""

    def __init__(self) -> None:
        self.issued: set[str] = set()
        self.issued_since_check = False
        self.logged: list[str] = []
        self.urls: list[str] = []
        self.blocker: DjangoDbBlocker | None = None

    def found(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield the issued tokens in these texts."""
        for text in texts:
            yield from self.issued.intersection(re.findall(SHAPE, text))
            plain = (bytes.fromhex(found).decode() for found in re.findall(HEX_SHAPE, text))
            yield from self.issued.intersection(plain)

    def find_leaks(self, *, database: bool) -> list[str]:
        """Return a sentence for each leaked token, and start a new record."""
        leaks = [f"a log line has {one}" for one in self.found(self.logged)]
        other_urls = [url for url in self.urls if not LINKS.match(url)]
        leaks += [f"a URL has {one}" for one in self.found(other_urls)]
        if database and self.issued_since_check:
            leaks += [
                f"the table {table} has {one}"
                for table, row in suspicious_rows()
                for one in self.found([row])
            ]
        self.logged, self.urls, self.issued_since_check = [], [], False
        return leaks


detector = LeakDetector()


def suspicious_rows() -> Iterator[tuple[str, str]]:
    """Yield the table and the text of each row that contains text in the shape of a token."""
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
def _recording(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Record tokens, log lines and URLs during the whole test session."""
    detector.blocker = django_db_blocker
    make, request, write = token_format.generate, Client.request, logging.Handler.format
    site_handlers = set(settings.LOGGING["handlers"])

    def make_and_remember(prefix: str) -> token_format.PlaintextToken:
        secret = make(prefix)
        detector.issued.add(secret.text)
        detector.issued_since_check = True
        return secret

    def request_and_remember(client: Client, **environ: Any) -> Any:
        detector.urls.append(f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        response = request(client, **environ)
        detector.urls.append(response.get("Location", ""))
        return response

    def write_and_remember(handler: logging.Handler, record: logging.LogRecord) -> str:
        line = write(handler, record)
        # Skip pytest's handlers: they get records before the site's filters have masked tokens.
        if handler.name in site_handlers:
            detector.logged.append(line)
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
    if detector.blocker is None:
        return result
    with detector.blocker.unblock():
        leaks = detector.find_leaks(database=uses_database)
    if leaks:
        pytest.fail("\n".join(leaks), pytrace=False)
    return result
