"""Response times of public endpoints with a known and an unknown account, in pairs.

Each pair sends one request for a known and one for an unknown account, in turn, over
one connection. The order within a pair changes, so that neither gains by coming second.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

from benchmarks import database, fleet
from benchmarks.bench import Bench, median
from benchmarks.client import Refused
from benchmarks.paths import HOST
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most
from benchmarks.servers import running

PAIRS = 500
MOST = 5.0
"""Percent that the medians may be apart."""
PASSWORD = "a long enough passphrase"  # noqa: S105 - of no account
UNLIMITED = (
    "SIGN_IN_LIMIT",
    "SIGN_IN_ADDRESS_LIMIT",
    "SIGN_IN_NAME_LIMIT",
    "PASSWORD_CHECK_ADDRESS_LIMIT",
    "REGISTER_LIMIT",
    "MAIL_LIMIT",
    "MAIL_CLIENT_LIMIT",
    "MAIL_ADDRESS_LIMIT",
)
"""The limits would end this soon."""
Ask = Callable[[bool], tuple[str, dict[str, Any]]]


def sign_in(known: bool) -> tuple[str, dict[str, Any]]:
    """A wrong password."""
    return "auth/login", {"username": "bench" if known else "unknown", "password": "wrong"}


def register(known: bool) -> tuple[str, dict[str, Any]]:
    """Return a request with a known or an unknown e-mail address."""
    name = f"new-{uuid4().hex}"
    email = "bench@example.org" if known else f"{name}@example.org"
    return "auth/register", {"username": name, "email": email, "password": PASSWORD}


def reset(known: bool) -> tuple[str, dict[str, Any]]:
    """A forgotten password."""
    return "auth/password-reset", {"email": f"{'bench' if known else 'unknown'}@example.org"}


DOORS: dict[str, tuple[Ask, int]] = {
    "sign-in": (sign_in, 401),
    "registration": (register, 202),
    "password reset": (reset, 202),
}


def measure(bench: Bench) -> Iterator[Row]:
    """The medians for known and unknown accounts, and how many percent they are apart."""
    from django.contrib.auth.hashers import make_password

    assert bench.empty_cast
    with database.connect(database.EMPTY) as connection:
        hashed = make_password(PASSWORD)
        connection.execute("UPDATE users SET password_hash = %s WHERE username = 'bench'", [hashed])
    ours = fleet.ours()
    limits = {**ours.environment, **dict.fromkeys(UNLIMITED, "1000000/1")}
    with running(replace(ours, environment=limits)):
        for name, (ask, status) in DOORS.items():
            known, unknown = (median(taken) * 1000 for taken in pairs(ours.port, ask, status))
            apart = abs(known - unknown) / min(known, unknown) * 100
            note = f"median {known:.1f} ms known, {unknown:.1f} ms unknown, of {PAIRS} pairs"
            say(f"{name}: {note}, {apart:.1f} % apart")
            yield Row(
                f"{name}, known and unknown account",
                "% apart",
                apart,
                goal=at_most(MOST),
                note=note,
            )


def pairs(port: int, ask: Ask, status: int) -> tuple[list[float], list[float]]:
    """The seconds that each answer took, for known and for unknown. Raises Refused."""
    line = http.client.HTTPConnection(HOST, port, timeout=60)
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number in range(PAIRS + 10):
        for known in (True, False) if number % 2 else (False, True):
            seconds = _seconds(line, *ask(known), status)
            # The first requests only fill caches.
            if number >= 10:
                taken[known].append(seconds)
    line.close()
    return taken[True], taken[False]


def _seconds(
    line: http.client.HTTPConnection, path: str, body: dict[str, Any], status: int
) -> float:
    content = json.dumps(body).encode()
    started = time.perf_counter()
    line.request("POST", f"/api/v1/{path}", content, {"Content-Type": "application/json"})
    answer = line.getresponse()
    answer.read()
    taken = time.perf_counter() - started
    if answer.status != status:
        raise Refused(f"POST {path} was answered {answer.status}")
    return taken
