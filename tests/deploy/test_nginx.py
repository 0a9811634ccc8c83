"""The site behind nginx, as deploy/ has it."""

import http.client
import json
import os
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from resilience.proxy import Nginx
from resilience.slow_clients import HEAD, begin
from tests.e2e.sites import PATIENCE, Site, free_port

READING = {"telemetry_type": "deploy", "payload": {"a": 1}}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        running = Site(Path(folder) / "data", PUBLIC_URL="https://localhost")
        running.wait_for("Stop  Ctrl-C")
        yield running
        running.stop()


@pytest.fixture(scope="module")
def nginx(site: Site) -> Iterator[Nginx]:
    if shutil.which("nginx") is None:
        if os.environ.get("CI"):
            pytest.fail("In CI there must be an nginx.")
        pytest.skip("No nginx on this machine.")
    with Nginx(site.port, free_port()) as running:
        yield running


def ask(
    nginx: Nginx, method: str, path: str, body: Any = None, *, tls: bool = True, token: str = ""
) -> tuple[int, dict[str, str], bytes]:
    made = http.client.HTTPConnection("localhost", nginx.http, timeout=PATIENCE)
    if tls:
        made = http.client.HTTPSConnection(
            "localhost", nginx.https, timeout=PATIENCE, context=nginx.trust()
        )
    with closing(made) as connection:
        head = {"Host": "localhost", "Content-Type": "application/json"}
        if token:
            head["Authorization"] = f"Bearer {token}"
        connection.request(method, path, json.dumps(body) if body else None, head)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def device_token(site: Site) -> str:
    return (site.data_dir / "first_device.token").read_text()


def test_a_reading_comes_through(nginx: Nginx, site: Site) -> None:
    path = "/api/v1/device/telemetry"
    status, headers, _ = ask(nginx, "POST", path, READING, token=device_token(site))
    assert status == 201
    assert len(headers["x-request-id"]) == 32


def test_what_is_for_the_machine_itself_does_not(nginx: Nginx) -> None:
    assert ask(nginx, "GET", "/livez")[0] == 200
    for path in ("/metrics", "/readyz"):
        assert ask(nginx, "GET", path)[0] == 404
        assert b"telemetry_" not in ask(nginx, "GET", path)[2]


def test_pages_are_sent_to_https_and_the_api_is_refused(nginx: Nginx) -> None:
    status, headers, _ = ask(nginx, "GET", "/sign-in", tls=False)
    assert (status, headers["location"]) == (301, "https://localhost/sign-in")
    status, headers, body = ask(nginx, "POST", "/api/v1/device/telemetry", READING, tls=False)
    assert (status, headers["content-type"]) == (403, "application/problem+json")
    assert json.loads(body)["status"] == 403


def test_a_page_knows_that_it_came_by_https(nginx: Nginx) -> None:
    status, headers, _ = ask(nginx, "GET", "/sign-in")
    assert status == 200
    assert headers["strict-transport-security"].startswith("max-age=31536000")
    assert "; Secure" in headers["set-cookie"]
    assert headers["set-cookie"].startswith("__Host-csrf=")


def test_what_waits_goes_to_the_process_that_lets_it_wait(nginx: Nginx, site: Site) -> None:
    # Nobody is there under this test.
    for path in ("/api/v1/device/commands", "/api/v1/events"):
        assert ask(nginx, "GET", path, token=device_token(site))[0] == 502
    missing = "/api/v1/device/commands/00000000-0000-0000-0000-000000000000"
    assert ask(nginx, "PATCH", missing, {"status": "executed"}, token=device_token(site))[0] == 404


def test_slow_senders_hold_nobody_up(nginx: Nginx, site: Site) -> None:
    # More than there are threads.
    slow = begin(
        "localhost",
        nginx.https,
        30,
        HEAD % (b"/api/v1/auth/login", b"") + b"{",
        context=nginx.trust(),
    )
    try:
        path = "/api/v1/device/telemetry"
        for number in range(5):
            reading = READING | {"payload": {"slow": number}}
            assert ask(nginx, "POST", path, reading, token=device_token(site))[0] == 201
    finally:
        for connection in slow:
            connection.close()


def test_only_imports_may_have_large_bodies(nginx: Nginx, site: Site) -> None:
    token = device_token(site)
    large = {"payload": "x" * 2_000_000}
    status, headers, body = ask(nginx, "POST", "/api/v1/device/telemetry", large, token=token)
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert json.loads(body)["status"] == 413
    missing = "/api/v1/devices/00000000-0000-0000-0000-000000000000/telemetry/import"
    # It comes to the site, which knows no such file.
    assert ask(nginx, "POST", missing, large, token=token)[0] in (403, 404, 415)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1"])
def test_other_names_get_no_answer(nginx: Nginx, host: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", nginx.http, timeout=PATIENCE)) as plain:
        plain.request("GET", "/", headers={"Host": host})
        with pytest.raises(http.client.RemoteDisconnected):
            plain.getresponse()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = socket.create_connection(("127.0.0.1", nginx.https), timeout=PATIENCE)
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(connection, server_hostname="evil.example")
    connection.close()


def test_a_fleet_behind_one_address_may_wait(nginx: Nginx) -> None:
    head = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # More than pages and the API allow; nobody is at the other end, so all get 502 and no 503.
    held = begin("localhost", nginx.https, 300, head, context=nginx.trust())
    statuses = {connection.recv(12) for connection in held}
    for connection in held:
        connection.close()
    assert statuses == {b"HTTP/1.1 502"}


def test_an_address_may_send_few_imports_at_a_time(nginx: Nginx) -> None:
    path = b"/api/v1/devices/00000000-0000-0000-0000-000000000000/telemetry/import"
    head = HEAD % (path, b"") + b"{"
    held = begin("localhost", nginx.https, 4, head, context=nginx.trust())
    # They stay open: nginx waits for the rest of the four bodies.
    (fifth,) = begin("localhost", nginx.https, 1, head, context=nginx.trust())
    assert fifth.recv(12) == b"HTTP/1.1 503"
    for connection in (*held, fifth):
        connection.close()


def test_half_a_header_is_not_waited_for_on_any_port(nginx: Nginx) -> None:
    connections = begin("localhost", nginx.http, 1, b"GET / HTTP/1.1\r\nHo")
    connections += begin(
        "localhost", nginx.https, 1, b"GET / HTTP/1.1\r\nHo", context=nginx.trust()
    )
    for connection in connections:
        # nginx closes it after ten seconds; its default is sixty.
        connection.settimeout(PATIENCE)
        assert connection.recv(1) == b""
        connection.close()


LINKS = ["password-reset", "verify-email", "join", "sign-in/link"]


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("link", LINKS)
def test_the_secret_of_a_mailed_link_is_in_no_log(nginx: Nginx, link: str, tls: bool) -> None:
    secret = f"tsv_{'0aZ' * 16}{int(tls)}"
    status, headers, _ = ask(nginx, "GET", f"/{link}/{secret}", tls=tls)
    assert status == (302 if tls else 301)
    assert (secret in headers["location"]) == (not tls)
    ask(nginx, "GET", "/sign-in?after-the-link", tls=tls)
    logged = wait_for_line(nginx, "/sign-in?after-the-link")
    assert secret not in logged + (nginx.folder / "error.log").read_text()


def test_the_secret_of_a_link_is_in_no_log_while_the_site_is_down() -> None:
    if shutil.which("nginx") is None:
        pytest.skip("No nginx on this machine.")
    secret = f"tsv_{'0aZ' * 16}2"
    with Nginx(free_port(), free_port()) as alone:
        assert ask(alone, "GET", f"/verify-email/{secret}")[0] == 502
        assert ask(alone, "GET", "/sign-in")[0] == 502
        logged = wait_for_line(alone, "/sign-in")
        errors = (alone.folder / "error.log").read_text()
        assert "/sign-in" in errors
        assert secret not in logged + errors


def wait_for_line(nginx: Nginx, part: str) -> str:
    """Return what nginx has logged of requests, once a line has this part."""
    deadline = time.monotonic() + PATIENCE
    while part not in (logged := (nginx.folder / "access.log").read_text()):
        assert time.monotonic() < deadline, logged
    return logged
