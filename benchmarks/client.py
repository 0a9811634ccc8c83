"""Sends what was made beforehand over kept connections, and times nothing else."""

import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from itertools import repeat
from typing import Any

from benchmarks.bodies import Batch
from benchmarks.paths import HOST


class Refused(Exception):
    """A server did not answer 2xx, so its figure is void."""


@dataclass(frozen=True)
class Request:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes


def posts(path: str, batches: Sequence[Batch], tokens: Sequence[str]) -> list[Request]:
    """The requests that bring these batches, each with its device's token."""
    return [
        Request(
            path,
            {"Authorization": f"Bearer {tokens[batch.device]}", "Content-Type": "application/json"},
            batch.body,
        )
        for batch in batches
    ]


def send(
    port: int,
    requests: Sequence[Request],
    *,
    connections: int = 1,
    told: Callable[[float], None] = lambda seconds: None,
) -> tuple[float, list[Any]]:
    """The seconds from the first request to the last answer, and the bodies of the answers.

    Each connection sends its share one after the other. `told` hears how long each answer took,
    from several threads. Raises Refused.
    """
    shares = [requests[n::connections] for n in range(connections)]
    lines = [http.client.HTTPConnection(HOST, port, timeout=60) for _ in shares]
    for line in lines:
        line.connect()
    with ThreadPoolExecutor(connections) as pool:
        started = time.perf_counter()
        answers = list(pool.map(_send_share, lines, shares, repeat(told)))
        seconds = time.perf_counter() - started
    for line in lines:
        line.close()
    return seconds, [answer for share in answers for answer in share]


def _send_share(
    line: http.client.HTTPConnection, share: Sequence[Request], told: Callable[[float], None]
) -> list[bytes]:
    answers = []
    for request in share:
        started = time.perf_counter()
        answers.append(_exchange(line, "POST", request.path, request.body, request.headers))
        told(time.perf_counter() - started)
    return answers


def post(port: int, path: str, body: bytes) -> bytes:
    """The answer to one form that is sent. Raises Refused."""
    line = http.client.HTTPConnection(HOST, port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return _exchange(line, "POST", path, body, headers)


class Line:
    """One kept connection that GETs with a token, or as a browser with these cookies."""

    def __init__(
        self, port: int, token: str = "", *, cookies: Mapping[str, str] | None = None
    ) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)
        together = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
        self._headers = (
            {"Authorization": f"Bearer {token}"}
            if token
            else {"Cookie": together, "Content-Type": "application/x-www-form-urlencoded"}
        )

    def __enter__(self) -> "Line":
        self._connection.connect()
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def get(self, path: str) -> tuple[float, bytes]:
        """The seconds that it takes, and the body. Raises Refused."""
        started = time.perf_counter()
        body = _exchange(self._connection, "GET", path, None, self._headers)
        return time.perf_counter() - started, body

    def post_json(self, path: str, body: bytes) -> Any:
        """What is answered to this JSON. Raises Refused."""
        headers = {**self._headers, "Content-Type": "application/json"}
        return json.loads(_exchange(self._connection, "POST", path, body, headers))

    def post(self, path: str, form: bytes) -> float:
        """The seconds that the answer to a form takes, which leads elsewhere. Raises Refused."""
        started = time.perf_counter()
        self._connection.request("POST", path, form, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != HTTPStatus.FOUND:
            raise Refused(f"POST {path} was answered {answer.status}")
        return time.perf_counter() - started


def gets(port: int, path: str, token: str, *, times: int) -> list[float]:
    """The seconds that each of so many GETs of a path takes, over one connection."""
    with Line(port, token) as line:
        return [line.get(path)[0] for _ in range(times)]


def _exchange(
    line: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
) -> bytes:
    line.request(method, path, body, headers)
    answer = line.getresponse()
    content = answer.read()
    if not 200 <= answer.status < 300:
        raise Refused(f"{method} {path.partition('?')[0]} was answered {answer.status}")
    return content
