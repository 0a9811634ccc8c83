"""The site as processes: shared metrics, logs and a graceful shutdown."""

import json
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.sites import TIMEOUT_SECONDS, Site

BODY = b'{"telemetry_type": "running", "payload": {"secret": "swordfish", "a": %d}}'


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        settings = {"GRANIAN_WORKERS": "2", "LOG_FORMAT": "json", "DRAIN_SECONDS": "1"}
        with Site(Path(folder) / "data", measured=True, **settings) as running:
            yield running
        print("".join(running.said))  # noqa: T201 - pytest shows it when the test failed


def get(site: Site, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"{site.url}{path}", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def token(site: Site) -> str:
    return (site.data_dir / "first_device.token").read_text()


def send(site: Site, number: int) -> int:
    head = {"Authorization": f"Bearer {token(site)}", "Content-Type": "application/json"}
    request = Request(f"{site.url}/api/v1/device/telemetry", BODY % number, head)  # noqa: S310
    with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        return int(answer.status)


def counted(site: Site) -> float:
    """Return the number of readings stored by all processes, from the metrics."""
    status, text = get(site, "/metrics")
    assert status == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "telemetry_readings_total"
    )


def begin(site: Site, number: int) -> tuple[socket.socket, bytes]:
    """Send the beginning of a request and return the connection and the rest of the body."""
    body = BODY % number
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=TIMEOUT_SECONDS)
    connection.sendall(
        b"POST /api/v1/device/telemetry HTTP/1.1\r\nHost: localhost\r\n"
        b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % (token(site).encode(), len(body)) + body[:10]
    )
    return connection, body[10:]


def takes_connections(site: Site) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.port), timeout=TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], expected: str) -> None:
    """Wait until the condition is true; `expected` says what it waits for."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS} s: {expected}"


def logged(site: Site) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.said if line.startswith("{")]


def test_the_site_counts_logs_and_finishes_requests_during_shutdown(site: Site) -> None:
    site.wait_for("Stop  Ctrl-C")
    assert get(site, "/livez") == (200, "ok\n")
    assert get(site, "/readyz")[0] == 200
    # Over separate connections, so that both processes get some.
    assert [send(site, number) for number in range(20)] == [201] * 20
    until(lambda: counted(site) >= 20, "20 readings are counted")

    connection, rest = begin(site, 20)
    site.process.send_signal(signal.SIGTERM)
    until(lambda: get(site, "/readyz")[0] == 503, "/readyz responds 503")
    until(lambda: not takes_connections(site), "the site accepts no more connections")
    connection.sendall(rest)
    assert connection.recv(100).startswith(b"HTTP/1.1 201 ")
    connection.close()
    assert site.process.wait(timeout=TIMEOUT_SECONDS) == 0

    requests = [
        line
        for line in logged(site)
        if line["logger"] == "telemetry_site.middleware.request_metrics"
    ]
    assert len([line for line in requests if line["status"] == 201]) >= 21
    assert all(len(line["request_id"]) == 32 for line in requests)
    assert "swordfish" not in "".join(site.said)
    assert token(site)[8:] not in "".join(site.said)
