"""Sends what was made beforehand over kept connections, and times nothing else."""

import http.client
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.bodies import Batch
from benchmarks.places import HOST


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
    port: int, requests: Sequence[Request], *, connections: int = 1
) -> tuple[float, list[Any]]:
    """The seconds from the first request to the last answer, and the bodies of the answers.

    Each connection sends its share one after the other. Raises Refused.
    """
    shares = [requests[n::connections] for n in range(connections)]
    lines = [http.client.HTTPConnection(HOST, port, timeout=60) for _ in shares]
    for line in lines:
        line.connect()
    with ThreadPoolExecutor(connections) as pool:
        started = time.perf_counter()
        answers = list(pool.map(_send_share, lines, shares))
        seconds = time.perf_counter() - started
    for line in lines:
        line.close()
    return seconds, [answer for share in answers for answer in share]


def _send_share(line: http.client.HTTPConnection, share: Sequence[Request]) -> list[bytes]:
    return [
        _exchange(line, "POST", request.path, request.body, request.headers) for request in share
    ]


def post(port: int, path: str, body: bytes) -> bytes:
    """The answer to one form that is sent. Raises Refused."""
    line = http.client.HTTPConnection(HOST, port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return _exchange(line, "POST", path, body, headers)


def get(port: int, path: str, token: str) -> tuple[float, bytes]:
    """The seconds that one GET over a new connection takes, and the body. Raises Refused."""
    return next(iter(gets(port, [path], token)))


def gets(port: int, paths: Sequence[str], token: str) -> list[tuple[float, bytes]]:
    """The same of each of these paths in turn, over one connection."""
    line = http.client.HTTPConnection(HOST, port, timeout=600)
    line.connect()
    taken = []
    for path in paths:
        started = time.perf_counter()
        body = _exchange(line, "GET", path, None, {"Authorization": f"Bearer {token}"})
        taken.append((time.perf_counter() - started, body))
    line.close()
    return taken


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
        raise Refused(f"{method} {path}: {answer.status} {content[:300].decode(errors='replace')}")
    return content
