"""The site as processes: what they count and log together, and how they end."""

import json
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.sites import PATIENCE, Site

BODY = b'{"telemetry_type": "running", "payload": {"secret": "swordfish", "a": %d}}'


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        settings = {"GRANIAN_WORKERS": "2", "LOG_FORMAT": "json", "DRAIN_SECONDS": "1"}
        running = Site(Path(folder) / "data", measured=True, **settings)
        yield running
        if running.process.poll() is None:
            running.stop()
        print("".join(running.said))  # noqa: T201 - pytest shows it when the test failed


def get(site: Site, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"{site.url}{path}", timeout=PATIENCE) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def token(site: Site) -> str:
    return (site.data_dir / "first_device.token").read_text()


def send(site: Site, number: int) -> int:
    head = {"Authorization": f"Bearer {token(site)}", "Content-Type": "application/json"}
    request = Request(f"{site.url}/api/v1/device/telemetry", BODY % number, head)  # noqa: S310
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return int(answer.status)


def counted(site: Site) -> float:
    """Readings that any of the processes has stored, by what was written down last."""
    status, text = get(site, "/metrics")
    assert status == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "telemetry_readings_total"
    )


def begin(site: Site, number: int) -> tuple[socket.socket, bytes]:
    """A request of which the end is still to be sent, and that end."""
    body = BODY % number
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)
    connection.sendall(
        b"POST /api/v1/device/telemetry HTTP/1.1\r\nHost: localhost\r\n"
        b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % (token(site).encode(), len(body)) + body[:10]
    )
    return connection, body[10:]


def takes_connections(site: Site) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def logged(site: Site) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.said if line.startswith("{")]


def test_it_counts_logs_and_finishes_what_it_began(site: Site) -> None:
    site.wait_for("Stop  Ctrl-C")
    assert get(site, "/livez") == (200, "ok\n")
    assert get(site, "/readyz")[0] == 200
    # Over connections of their own, so that both processes get some.
    assert [send(site, number) for number in range(20)] == [201] * 20
    while counted(site) < 20:
        pass

    connection, rest = begin(site, 20)
    site.process.send_signal(signal.SIGTERM)
    while get(site, "/readyz")[0] != 503:
        pass
    while takes_connections(site):
        pass
    connection.sendall(rest)
    assert connection.recv(100).startswith(b"HTTP/1.1 201 ")
    connection.close()
    assert site.process.wait(timeout=PATIENCE) == 0

    requests = [
        line
        for line in logged(site)
        if line["logger"] == "telemetry_site.middleware.request_metrics"
    ]
    assert len([line for line in requests if line["status"] == 201]) >= 21
    assert all(len(line["request_id"]) == 32 for line in requests)
    assert "swordfish" not in "".join(site.said)
    assert token(site)[8:] not in "".join(site.said)
