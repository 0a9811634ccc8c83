"""The site behind nginx with the configuration in deploy/."""

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
from tests.e2e.sites import TIMEOUT_SECONDS, Site, free_port

READING = {"telemetry_type": "deploy", "payload": {"a": 1}}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        with Site(Path(folder) / "data", PUBLIC_URL="https://localhost") as running:
            running.wait_for("Stop  Ctrl-C")
            yield running


@pytest.fixture(scope="module")
def nginx(site: Site) -> Iterator[Nginx]:
    if shutil.which("nginx") is None:
        if os.environ.get("CI"):
            pytest.fail("In CI there must be an nginx.")
        pytest.skip("No nginx on this machine.")
    with Nginx(site.port, free_port()) as running:
        yield running


def send_request(
    nginx: Nginx, method: str, path: str, body: Any = None, *, tls: bool = True, token: str = ""
) -> tuple[int, dict[str, str], bytes]:
    opened = http.client.HTTPConnection("localhost", nginx.http, timeout=TIMEOUT_SECONDS)
    if tls:
        opened = http.client.HTTPSConnection(
            "localhost", nginx.https, timeout=TIMEOUT_SECONDS, context=nginx.trust()
        )
    with closing(opened) as connection:
        head = {"Host": "localhost", "Content-Type": "application/json"}
        if token:
            head["Authorization"] = f"Bearer {token}"
        connection.request(method, path, json.dumps(body) if body else None, head)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def device_token(site: Site) -> str:
    return (site.data_dir / "first_device.token").read_text()


def test_a_reading_is_passed_to_the_site(nginx: Nginx, site: Site) -> None:
    path = "/api/v1/device/telemetry"
    status, headers, _ = send_request(nginx, "POST", path, READING, token=device_token(site))
    assert status == 201
    assert len(headers["x-request-id"]) == 32


def test_endpoints_for_the_local_machine_are_not_passed_on(nginx: Nginx) -> None:
    assert send_request(nginx, "GET", "/livez")[0] == 200
    for path in ("/metrics", "/readyz"):
        assert send_request(nginx, "GET", path)[0] == 404
        assert b"telemetry_" not in send_request(nginx, "GET", path)[2]


def test_http_redirects_pages_and_rejects_the_api(nginx: Nginx) -> None:
    status, headers, _ = send_request(nginx, "GET", "/sign-in", tls=False)
    assert (status, headers["location"]) == (301, "https://localhost/sign-in")
    status, headers, body = send_request(
        nginx, "POST", "/api/v1/device/telemetry", READING, tls=False
    )
    assert (status, headers["content-type"]) == (403, "application/problem+json")
    assert json.loads(body)["status"] == 403


def test_a_page_over_https_has_secure_cookies_and_headers(nginx: Nginx) -> None:
    status, headers, _ = send_request(nginx, "GET", "/sign-in")
    assert status == 200
    assert headers["strict-transport-security"].startswith("max-age=31536000")
    assert "; Secure" in headers["set-cookie"]
    assert headers["set-cookie"].startswith("__Host-csrf=")


def test_long_polls_and_event_streams_are_passed_to_the_live_process(
    nginx: Nginx, site: Site
) -> None:
    # In this test no process listens on the live port of the configuration: 502.
    for path in ("/api/v1/device/commands", "/api/v1/events"):
        assert send_request(nginx, "GET", path, token=device_token(site))[0] == 502
    missing = "/api/v1/device/commands/00000000-0000-0000-0000-000000000000"
    assert (
        send_request(nginx, "PATCH", missing, {"status": "executed"}, token=device_token(site))[0]
        == 404
    )


def test_slow_clients_do_not_block_other_clients(nginx: Nginx, site: Site) -> None:
    # More connections than the site has threads.
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
            assert send_request(nginx, "POST", path, reading, token=device_token(site))[0] == 201
    finally:
        for connection in slow:
            connection.close()


def test_large_bodies_are_accepted_only_for_imports(nginx: Nginx, site: Site) -> None:
    token = device_token(site)
    large = {"payload": "x" * 2_000_000}
    status, headers, body = send_request(
        nginx, "POST", "/api/v1/device/telemetry", large, token=token
    )
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert json.loads(body)["status"] == 413
    missing = "/api/v1/devices/00000000-0000-0000-0000-000000000000/telemetry/import"
    # nginx passes the request on, and the site rejects it.
    assert send_request(nginx, "POST", missing, large, token=token)[0] in (403, 404, 415)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1"])
def test_a_request_with_another_host_gets_no_response(nginx: Nginx, host: str) -> None:
    with closing(
        http.client.HTTPConnection("127.0.0.1", nginx.http, timeout=TIMEOUT_SECONDS)
    ) as plain:
        plain.request("GET", "/", headers={"Host": host})
        with pytest.raises(http.client.RemoteDisconnected):
            plain.getresponse()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = socket.create_connection(("127.0.0.1", nginx.https), timeout=TIMEOUT_SECONDS)
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(connection, server_hostname="evil.example")
    connection.close()


def test_many_devices_behind_one_ip_address_may_long_poll(nginx: Nginx) -> None:
    head = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # More than pages and the API allow. No process listens behind nginx: 502, but never 503.
    held = begin("localhost", nginx.https, 300, head, context=nginx.trust())
    statuses = {connection.recv(12) for connection in held}
    for connection in held:
        connection.close()
    assert statuses == {b"HTTP/1.1 502"}


def test_an_ip_address_may_send_only_four_imports_at_a_time(nginx: Nginx) -> None:
    path = b"/api/v1/devices/00000000-0000-0000-0000-000000000000/telemetry/import"
    head = HEAD % (path, b"") + b"{"
    held = begin("localhost", nginx.https, 4, head, context=nginx.trust())
    # They stay open: nginx waits for the rest of the four bodies.
    (fifth,) = begin("localhost", nginx.https, 1, head, context=nginx.trust())
    assert fifth.recv(12) == b"HTTP/1.1 503"
    for connection in (*held, fifth):
        connection.close()


def test_a_connection_with_an_incomplete_header_is_closed_on_every_port(nginx: Nginx) -> None:
    connections = begin("localhost", nginx.http, 1, b"GET / HTTP/1.1\r\nHo")
    connections += begin(
        "localhost", nginx.https, 1, b"GET / HTTP/1.1\r\nHo", context=nginx.trust()
    )
    for connection in connections:
        # nginx closes it after ten seconds; its default is sixty.
        connection.settimeout(TIMEOUT_SECONDS)
        assert connection.recv(1) == b""
        connection.close()


LINKS = ["password-reset", "verify-email", "join", "sign-in/link"]


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("link", LINKS)
def test_the_token_of_a_mailed_link_is_not_logged(nginx: Nginx, link: str, tls: bool) -> None:
    secret = f"tsv_{'0aZ' * 16}{int(tls)}"
    status, headers, _ = send_request(nginx, "GET", f"/{link}/{secret}", tls=tls)
    assert status == (302 if tls else 301)
    assert (secret in headers["location"]) == (not tls)
    send_request(nginx, "GET", "/sign-in?after-the-link", tls=tls)
    logged = wait_for_line(nginx, "/sign-in?after-the-link")
    assert secret not in logged + (nginx.folder / "error.log").read_text()


def test_the_token_of_a_mailed_link_is_not_logged_while_the_site_is_down() -> None:
    if shutil.which("nginx") is None:
        pytest.skip("No nginx on this machine.")
    secret = f"tsv_{'0aZ' * 16}2"
    with Nginx(free_port(), free_port()) as running:
        assert send_request(running, "GET", f"/verify-email/{secret}")[0] == 502
        assert send_request(running, "GET", "/sign-in")[0] == 502
        logged = wait_for_line(running, "/sign-in")
        errors = (running.folder / "error.log").read_text()
        assert "/sign-in" in errors
        assert secret not in logged + errors


def wait_for_line(nginx: Nginx, part: str) -> str:
    """Wait until a line of the access log contains this part, and return the log."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while part not in (logged := (nginx.folder / "access.log").read_text()):
        assert time.monotonic() < deadline, f"no line with {part!r} in the log:\n{logged}"
    return logged
