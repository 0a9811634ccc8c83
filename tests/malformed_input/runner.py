"""Send all malformed input to every writing endpoint of a running site and report wrong
outcomes.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from tests.malformed_input.case import Case, Outcome
from tests.malformed_input.endpoints import NOWHERE, Endpoint, endpoints
from tests.malformed_input.http_client import PersistentConnection, Request, Response

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "request_id", "errors"}
INTERNAL_DETAILS = (b"Traceback", b"psycopg", b"SELECT ", b'File "')
IGNORED_TABLES = {"device_refusals", "throttles", "audit_events", "user_watches"}
"""Tables that also record rejected requests."""
IGNORED_COLUMNS = ("last_used_at", "last_seen_at")
"""Columns that record that a user or device was active, even if the request was rejected."""
CONNECTIONS = 3
"""The number of concurrent connections."""
LOGOUT = "/api/v1/auth/logout"
LIMITS = dict.fromkeys(
    [
        "SIGN_IN_LIMIT",
        "SIGN_IN_ADDRESS_LIMIT",
        "PASSWORD_LIMIT",
        "PASSWORD_CHECK_LIMIT",
        "PASSWORD_CHECK_ADDRESS_LIMIT",
        "SECOND_FACTOR_LIMIT",
        "SECOND_FACTOR_DAY_LIMIT",
        "RECOVERY_CODE_LIMIT",
        "REGISTER_LIMIT",
        "MAIL_LIMIT",
        "MAIL_CLIENT_LIMIT",
        "MAIL_ADDRESS_LIMIT",
        "INVITATION_LIMIT",
        "IDEMPOTENCY_KEY_LIMIT",
        "WRITES_PER_USER",
        "WRITES_PER_USER_AND_DAY",
    ],
    "1000000/60",
) | {"PENDING_COMMANDS_PER_DEVICE": "1000000", "REGISTRATION_MODE": "open"}
"""Settings that disable rate limits: a 429 would hide how the input is handled."""


@dataclass(frozen=True)
class Cast:
    """The tokens to send and the ids of the objects in the paths."""

    ids: Mapping[str, str]
    tokens: Mapping[str, str]
    """By the name of the security scheme in the schema."""
    spare: str
    """A user's token for the logout endpoint."""


@dataclass
class Report:
    faults: list[str] = field(default_factory=list)
    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: tuple[float, str] = (0.0, "")

    def __str__(self) -> str:
        seconds, name = self.slowest
        return (
            f"{self.requests} in {self.seconds:.0f} s, {dict(sorted(self.statuses.items()))},"
            f" slowest {seconds:.2f} s ({name})"
        )

    def add(self, name: str, response: Response, wrong: str | None, seconds: float) -> None:
        self.requests += 1
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        self.slowest = max(self.slowest, (seconds, name))
        if wrong:
            self.faults.append(f"{name}: {wrong}")


Selector = Callable[[int, int], bool]
"""Return whether a case is sent to an endpoint, by their numbers."""


def select_all(case: int, endpoint: int) -> bool:
    return True


def sample(share: int) -> Selector:
    """Select one in `share` of all pairs, so that every case and every endpoint is included."""
    return lambda case, endpoint: (case + endpoint) % share == 0


def run_cases(
    port: int,
    database: psycopg.Connection[Any],
    cast: Cast,
    cases: Sequence[Case],
    *,
    chosen: Selector = select_all,
) -> Report:
    """Send the cases. Those that must be rejected come first, so that any change in the database is
    an error.
    """
    report, started = Report(), time.monotonic()
    with ConnectionPool(port, report) as pool:
        before = table_checksums(database)
        for number, endpoint in enumerate(endpoints()):
            sent = [one for i, one in enumerate(cases) if chosen(i, number)]
            pool.send(
                build_requests(endpoint, [c for c in sent if c.outcome != Outcome.EITHER], cast)
            )
            after = table_checksums(database)
            if changed := differences(before, after):
                report.faults.append(f"{endpoint.name}: refused, but changed {changed}")
            before = after
        for number, endpoint in enumerate(endpoints()):
            sent = [one for i, one in enumerate(cases) if chosen(i, number)]
            harmless = _harmless(endpoint, cast)
            pool.send(
                build_requests(endpoint, [c for c in sent if c.outcome == Outcome.EITHER], harmless)
            )
        send_valid_requests(pool.connections[0], cast, report)
    report.seconds = time.monotonic() - started
    return report


PreparedRequest = tuple[Endpoint, Case, Request]


def build_requests(
    endpoint: Endpoint, cases: Sequence[Case], cast: Cast
) -> Iterator[PreparedRequest]:
    """Make the malformed requests of the cases from a valid request."""
    good = endpoint.request(cast.ids, cast.tokens)
    for case in cases:
        if request := case.make(endpoint, good):
            yield endpoint, case, request


def find_error(endpoint: Endpoint, case: Case, request: Request, response: Response) -> str | None:
    """Return what is wrong with a response, or None."""
    status = response.status
    if status >= 500:
        return f"{status} {response.body[:300]!r}"
    if status == 0:
        return None if request.raw else "closed without a response"
    if status < 400:
        return None if case.outcome == Outcome.EITHER else f"accepted with {status}"
    if request.raw and (not response.body or b"<html" in response.body):
        # The server itself rejected bytes it cannot parse, or the path is not in the API (an HTML
        # page).
        return None
    if response.content_type != "application/problem+json":
        return f"{status} as {response.content_type!r}: {response.body[:200]!r}"
    data = json.loads(response.body)
    if set(data) != PROBLEM_FIELDS or data["status"] != status or not data["detail"]:
        return f"no problem document: {data}"
    if data["request_id"] != response.headers.get("x-request-id"):
        return "another request id"
    if any(word in response.body for word in INTERNAL_DETAILS):
        return f"tells too much: {response.body[:300]!r}"
    if case.status not in (0, status) and not endpoint.is_file:
        return f"{status}, not {case.status}: {data['detail']} {data['errors'][:2]}"
    return None


class ConnectionPool:
    """Several connections that send concurrently."""

    def __init__(self, port: int, report: Report) -> None:
        self.connections = [PersistentConnection(port) for _ in range(CONNECTIONS)]
        self.report = report
        self.lock = threading.Lock()

    def __enter__(self) -> "ConnectionPool":
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()

    def send(self, requests: Iterator[PreparedRequest]) -> None:
        waiting = list(requests)[::-1]
        threads = [
            threading.Thread(target=self._send, args=[connection, waiting])
            for connection in self.connections
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, connection: PersistentConnection, waiting: list[PreparedRequest]) -> None:
        while True:
            with self.lock:
                if not waiting:
                    return
                endpoint, case, request = waiting.pop()
            started = time.monotonic()
            try:
                response = connection.ask(request, half=case.is_half)
                wrong = find_error(endpoint, case, request, response)
            except TimeoutError:
                response, wrong = Response(0), "no response"
            with self.lock:
                name = f"{case.name} → {endpoint.name}"
                self.report.add(name, response, wrong, time.monotonic() - started)


def _harmless(endpoint: Endpoint, cast: Cast) -> Cast:
    """Return the cast for requests that may succeed: an endpoint without a body gets ids that do
    not exist.
    """
    ids = dict(cast.ids) if endpoint.has_body else dict.fromkeys(cast.ids, str(NOWHERE))
    tokens = dict(cast.tokens)
    if endpoint.path == LOGOUT:
        tokens["userToken"] = cast.spare
    return Cast(ids, tokens, cast.spare)


EXPECTED_STATUS = {
    "POST /api/v1/auth/join": 422,
    "POST /api/v1/auth/login": 401,
    "POST /api/v1/auth/password": 403,
    "POST /api/v1/auth/password-reset/confirm": 422,
    "POST /api/v1/auth/register": 422,
    "POST /api/v1/auth/verify-email": 422,
    "POST /api/v1/command-batches": 422,
    "POST /api/v1/devices/{device_id}/commands/{command_id}/cancel": 409,
    "POST /api/v1/devices/{device_id}/tokens": 409,
    "POST /api/v1/invitations": 403,
    "DELETE /api/v1/users/me": 422,
}
"""Valid requests that are nevertheless rejected: a token that was never sent, a wrong password, a
command that has ended, one token more than a device may have, …
"""
SENT_LAST = [
    "POST /api/v1/devices/{device_id}/tokens/rotate",
    "DELETE /api/v1/devices/{device_id}",
    "POST /api/v1/auth/logout",
]
"""Requests that would make the others fail; they are sent last."""


def send_valid_requests(connection: PersistentConnection, cast: Cast, report: Report) -> None:
    """Send the valid request of every endpoint: the unchanged base of each case, and proof that the
    site still responds.
    """
    by_name = {endpoint.name: endpoint for endpoint in endpoints()}
    for name in [*(name for name in by_name if name not in SENT_LAST), *SENT_LAST]:
        response = connection.ask(by_name[name].request(cast.ids, cast.tokens))
        if not (200 <= response.status < 300 or response.status == EXPECTED_STATUS.get(name)):
            report.faults.append(f"a good one → {name}: {response.status} {response.body[:300]!r}")


def table_checksums(database: psycopg.Connection[Any]) -> dict[str, tuple[int, int]]:
    """Return by table the number of rows and a checksum of their contents."""
    one = sql.SQL(
        "SELECT {name}, count(*), coalesce(sum(hashtextextended("
        "(to_jsonb(t) - {volatile}::text[])::text, 0)), 0) FROM {table} AS t"
    )
    all_of_them = sql.SQL(" UNION ALL ").join(
        one.format(
            name=table, volatile=sql.Literal(list(IGNORED_COLUMNS)), table=sql.Identifier(table)
        )
        for table in _tables(database)
    )
    return {name: (count, held) for name, count, held in database.execute(all_of_them)}


def _tables(database: psycopg.Connection[Any]) -> list[str]:
    query = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN"
        " ('r', 'p') AND NOT relispartition AND relname !~ '^(procrastinate|django)_'"
    )
    return [name for (name,) in database.execute(query) if name not in IGNORED_TABLES]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    return {
        table: f"{before[table][0]} rows, now {after[table][0]}"
        for table in before
        if before[table] != after[table]
    }
