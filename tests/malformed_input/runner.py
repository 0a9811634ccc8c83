"""All bad input to every writing endpoint of a running site, and what was not as it should be."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from tests.malformed_input.case import Case, Fate
from tests.malformed_input.endpoints import NOWHERE, Endpoint, endpoints
from tests.malformed_input.http_client import Answer, Line, Request

PROBLEM = {"type", "title", "status", "detail", "instance", "request_id", "errors"}
INDISCREET = (b"Traceback", b"psycopg", b"SELECT ", b'File "')
UNCOUNTED = {"device_refusals", "throttles", "audit_events", "user_watches"}
"""Tables that tell of what was refused, too."""
VOLATILE = ("last_used_at", "last_seen_at")
"""Columns that tell that somebody was there, whatever became of what they sent."""
LINES = 3
"""Connections at once."""
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
"""Settings with which nobody is told to wait: that would say nothing of what was sent."""


@dataclass(frozen=True)
class Cast:
    """Whose tokens are used and whose things spoken of."""

    ids: Mapping[str, str]
    tokens: Mapping[str, str]
    """By the name of the way to say who one is, as the schema has it."""
    spare: str
    """A user's token to sign out with."""


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

    def add(self, name: str, answer: Answer, wrong: str | None, seconds: float) -> None:
        self.requests += 1
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        self.slowest = max(self.slowest, (seconds, name))
        if wrong:
            self.faults.append(f"{name}: {wrong}")


Chosen = Callable[[int, int], bool]
"""Whether a case goes to an endpoint, by their numbers."""


def everything(case: int, endpoint: int) -> bool:
    return True


def part(share: int) -> Chosen:
    """One in `share` of all pairs, in which every case and every endpoint is."""
    return lambda case, endpoint: (case + endpoint) % share == 0


def barrage(
    port: int,
    database: psycopg.Connection[Any],
    cast: Cast,
    cases: Sequence[Case],
    *,
    chosen: Chosen = everything,
) -> Report:
    """Send it. What must be refused goes first, so that whatever is changed was changed by it."""
    report, started = Report(), time.monotonic()
    with Volley(port, report) as volley:
        before = contents(database)
        for number, endpoint in enumerate(endpoints()):
            sent = [one for i, one in enumerate(cases) if chosen(i, number)]
            volley.send(made(endpoint, [c for c in sent if c.fate != Fate.EITHER], cast))
            after = contents(database)
            if changed := differences(before, after):
                report.faults.append(f"{endpoint.name}: refused, but changed {changed}")
            before = after
        for number, endpoint in enumerate(endpoints()):
            sent = [one for i, one in enumerate(cases) if chosen(i, number)]
            harmless = _harmless(endpoint, cast)
            volley.send(made(endpoint, [c for c in sent if c.fate == Fate.EITHER], harmless))
        good_ones(volley.lines[0], cast, report)
    report.seconds = time.monotonic() - started
    return report


Shot = tuple[Endpoint, Case, Request]


def made(endpoint: Endpoint, cases: Sequence[Case], cast: Cast) -> Iterator[Shot]:
    """What the cases make of a good request."""
    good = endpoint.request(cast.ids, cast.tokens)
    for case in cases:
        if request := case.make(endpoint, good):
            yield endpoint, case, request


def verdict(endpoint: Endpoint, case: Case, request: Request, answer: Answer) -> str | None:
    """What is wrong with an answer."""
    status = answer.status
    if status >= 500:
        return f"{status} {answer.body[:300]!r}"
    if status == 0:
        return None if request.raw else "closed without a word"
    if status < 400:
        return None if case.fate == Fate.EITHER else f"accepted with {status}"
    if request.raw and (not answer.body or b"<html" in answer.body):
        # The server's own refusal of what it cannot read, or a page, as it is not of the API.
        return None
    if answer.content_type != "application/problem+json":
        return f"{status} as {answer.content_type!r}: {answer.body[:200]!r}"
    told = json.loads(answer.body)
    if set(told) != PROBLEM or told["status"] != status or not told["detail"]:
        return f"no problem document: {told}"
    if told["request_id"] != answer.headers.get("x-request-id"):
        return "another request id"
    if any(word in answer.body for word in INDISCREET):
        return f"tells too much: {answer.body[:300]!r}"
    if case.status not in (0, status) and not endpoint.is_file:
        return f"{status}, not {case.status}: {told['detail']} {told['errors'][:2]}"
    return None


class Volley:
    """Several connections that send at once."""

    def __init__(self, port: int, report: Report) -> None:
        self.lines = [Line(port) for _ in range(LINES)]
        self.report = report
        self.lock = threading.Lock()

    def __enter__(self) -> "Volley":
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.lines:
            line.close()

    def send(self, shots: Iterator[Shot]) -> None:
        waiting = list(shots)[::-1]
        threads = [threading.Thread(target=self._send, args=[line, waiting]) for line in self.lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, line: Line, waiting: list[Shot]) -> None:
        while True:
            with self.lock:
                if not waiting:
                    return
                endpoint, case, request = waiting.pop()
            started = time.monotonic()
            try:
                answer = line.ask(request, half=case.is_half)
                wrong = verdict(endpoint, case, request, answer)
            except TimeoutError:
                answer, wrong = Answer(0), "no answer"
            with self.lock:
                name = f"{case.name} → {endpoint.name}"
                self.report.add(name, answer, wrong, time.monotonic() - started)


def _harmless(endpoint: Endpoint, cast: Cast) -> Cast:
    """The cast for what may succeed: where nothing but an id says what is to go, it is no id."""
    ids = dict(cast.ids) if endpoint.has_body else dict.fromkeys(cast.ids, str(NOWHERE))
    tokens = dict(cast.tokens)
    if endpoint.path == LOGOUT:
        tokens["userToken"] = cast.spare
    return Cast(ids, tokens, cast.spare)


OTHERWISE = {
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
"""What is as it should be and may yet be refused: a token that was never mailed, a wrong password,
a command that has ended, one token more than a device may have, …
"""
LAST = [
    "POST /api/v1/devices/{device_id}/tokens/rotate",
    "DELETE /api/v1/devices/{device_id}",
    "POST /api/v1/auth/logout",
]
"""What would end the others."""


def good_ones(line: Line, cast: Cast, report: Report) -> None:
    """What all of it was made of: the other half of each case, and the site still answers."""
    by_name = {endpoint.name: endpoint for endpoint in endpoints()}
    for name in [*(name for name in by_name if name not in LAST), *LAST]:
        answer = line.ask(by_name[name].request(cast.ids, cast.tokens))
        if not (200 <= answer.status < 300 or answer.status == OTHERWISE.get(name)):
            report.faults.append(f"a good one → {name}: {answer.status} {answer.body[:300]!r}")


def contents(database: psycopg.Connection[Any]) -> dict[str, tuple[int, int]]:
    """By table, how many rows there are, and a sum over what they hold."""
    one = sql.SQL(
        "SELECT {name}, count(*), coalesce(sum(hashtextextended("
        "(to_jsonb(t) - {volatile}::text[])::text, 0)), 0) FROM {table} AS t"
    )
    all_of_them = sql.SQL(" UNION ALL ").join(
        one.format(name=table, volatile=sql.Literal(list(VOLATILE)), table=sql.Identifier(table))
        for table in _tables(database)
    )
    return {name: (count, held) for name, count, held in database.execute(all_of_them)}


def _tables(database: psycopg.Connection[Any]) -> list[str]:
    query = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN"
        " ('r', 'p') AND NOT relispartition AND relname !~ '^(procrastinate|django)_'"
    )
    return [name for (name,) in database.execute(query) if name not in UNCOUNTED]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    return {
        table: f"{before[table][0]} rows, now {after[table][0]}"
        for table in before
        if before[table] != after[table]
    }
