"""Requests over real sockets: a slow client does not hold a thread."""

import gzip
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone

from accounts.models import Archive, User
from accounts.passwords import hashers
from accounts.tokens import services as tokens
from accounts.users import access, data_exports
from common import request_pools
from devices.models import Device
from telemetry.api import import_export
from telemetry.models import Telemetry
from telemetry_site.server import clients, django_handler, downloads, request_body
from tests.factories import device_token, store_readings, user_token
from tests.telemetry_site.server.conftest import (
    ServedSite,
    chunk,
    read_response,
    request_head,
    wait_until,
)

READING = {"telemetry_type": "served", "payload": {"t": 1}}
INGEST = "/api/v1/device/telemetry"
SIZE = 12_000_000
"""In bytes; larger than any buffer on the way."""
MANY = 40
"""More than the number of threads."""


@pytest.fixture
def owner(transactional_db: None) -> User:
    return User.objects.create_user("owner", "owner@example.org", "correct horse battery staple")


@pytest.fixture
def device(owner: User) -> Device:
    return Device.objects.create(user=owner, name="greenhouse", device_type="sensor")


@pytest.fixture
def archive(owner: User) -> Iterator[bytes]:
    """A data export that is ready."""
    now = timezone.now()
    made = Archive.objects.create(
        user=owner,
        requested_at=now,
        status="ready",
        size=SIZE,
        expires_at=now + timedelta(days=1),
    )
    content = os.urandom(SIZE)
    data_exports.file_path(made).write_bytes(content)
    yield content
    data_exports.file_path(made).unlink()


def send_reading(served: ServedSite, device: Device) -> int:
    return served.request("POST", INGEST, READING, device_token(device)).status


def test_a_page_and_an_api_error_have_the_usual_headers(served):
    page = served.request("GET", "/sign-in")
    assert page.status == 200
    assert b"</html>" in page.body
    assert "content-security-policy" in page.headers
    assert "set-cookie" in page.headers
    assert page.headers["content-length"] == str(len(page.body))
    missing = served.request("GET", "/api/v1/nothing")
    assert missing.status == 404
    assert missing.headers["content-type"] == "application/problem+json"


def test_a_reading_is_stored_when_the_response_is_sent(served, device):
    assert send_reading(served, device) == 201
    assert Telemetry.objects.filter(device=device).count() == 1


def test_a_connection_is_reused_for_several_requests(served, device):
    token = device_token(device)
    request = request_head("GET", "/api/v1/device/commands", token=token, Connection="keep-alive")
    connection = served.send(request)
    for _ in range(3):
        assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
        connection.sendall(request)


def test_a_header_with_an_underscore_is_not_read_as_one_with_a_hyphen(served, settings):
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    settings.RATE_LIMITS = {
        **settings.RATE_LIMITS,
        "sign-in": (1, 900),
        "sign-in-address": (1, 900),
    }
    statuses = []
    for number in range(3):
        body = b'{"username": "a%d", "password": "bbb"}' % number
        lines = request_head("POST", "/api/v1/auth/login", body).removesuffix(b"\r\n")
        made_up = b"X_Forwarded_For: 10.0.0.%d\r\n\r\n" % number
        statuses.append(read_response(served.send(lines + made_up + body)).status)
    assert statuses == [401, 429, 429]


@pytest.mark.parametrize(
    ("encoding", "length", "status"),
    [
        ("chunked", 10, 422),
        ("Chunked", 1024 * 1024, 422),
        ("chunked", 1024 * 1024 + 1, 413),
        ("chunked", 5 * 1024 * 1024, 413),
        ("gzip, chunked", 10, 411),
    ],
)
def test_a_chunked_body_is_read_up_to_the_limit(served, encoding, length, status):
    request = request_head("POST", "/api/v1/auth/login", b"", Transfer_Encoding=encoding)
    connection = served.send(request)
    try:
        connection.sendall(chunk(b"{}".ljust(length)))
    except OSError:
        # The server responded and closed the connection before all chunks were sent.
        assert length > 1024 * 1024
    assert read_response(connection).status == status


def test_a_body_of_too_many_small_chunks_is_rejected_before_its_end(served, device):
    request = request_head("POST", INGEST, b"", device_token(device), Transfer_Encoding="chunked")
    # The last chunk is not sent; the response does not wait for it.
    few = json.dumps(READING).encode().ljust(500)
    whole = served.send(request + chunk(few, size=1))
    assert read_response(whole).status == 201
    many = served.send(request + chunk(b" " * 5000, size=1)[:-5])
    assert read_response(many).status == 400


def test_a_chunked_body_is_accepted_in_the_api_only(served):
    request = request_head("POST", "/sign-in", b"", Transfer_Encoding="chunked")
    assert read_response(served.send(request + chunk(b"a=1"))).status == 411


def test_a_body_over_the_limit_is_rejected_before_it_is_sent(served, device):
    request = request_head(
        "POST", INGEST, b"", device_token(device), Content_Length=str(50 * 1024 * 1024)
    )
    assert read_response(served.send(request)).status == 413


@pytest.mark.parametrize(
    "content_type", ["application/json; charset*=bogus''%41", "application/json; charset*99=x"]
)
def test_an_invalid_content_type_is_415(served, content_type):
    answer = served.request("POST", "/api/v1/auth/login", b"{}", Content_Type=content_type)
    assert answer.status == 415


SLOW = {
    "a stranger's": (request_head("POST", "/api/v1/auth/login", b"x" * 1000), b"{"),
    "a page's": (request_head("POST", "/sign-in", b"x" * 1000, Content_Type="text/plain"), b"a"),
    "a device's": (None, b"{"),
    "in chunks": (None, b"1\r\n{\r\n"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_unfinished_bodies_hold_no_thread(served, device, kind):
    request, begun = SLOW[kind]
    if request is None:
        how = {"Transfer_Encoding": "chunked"} if kind == "in chunks" else {}
        request = request_head("POST", INGEST, b"x" * 1000, device_token(device), **how)
    for _ in range(MANY):
        served.send(request + begun)
    assert send_reading(served, device) == 201
    assert served.request("GET", "/sign-in").status == 200


def test_a_body_that_times_out_is_408_and_the_connection_is_closed(served, device, monkeypatch):
    monkeypatch.setattr(request_body, "SECONDS", 0.05)
    answer = read_response(
        served.send(request_head("POST", INGEST, b"x" * 100, device_token(device)) + b"{")
    )
    assert answer.status == 408
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_client_over_the_memory_limit_of_bodies_is_503_and_others_are_not(served, device):
    token = device_token(device)
    assert served.request("POST", INGEST, [READING], token).status == 201
    served.application.body_budgets["devices"].size = 8000
    hostile = request_head("POST", INGEST, b"x" * 900, "tsd_hostile")
    held = [served.send(hostile + b"{") for _ in range(2)]
    refused = read_response(held[1])
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    assert served.request("POST", INGEST, [READING] * 20, token).status == 201


def test_bodies_of_other_endpoints_do_not_use_the_memory_of_readings(served, device):
    for receiver in served.application.body_budgets.values():
        receiver.size = 8000
    for path in ("/api/v1/auth/login", "/sign-in"):
        served.send(request_head("POST", path, b"x" * 7900) + b"{")
    wait_until(lambda: served.application.body_budgets["passwords"].reserved)
    assert send_reading(served, device) == 201


def test_a_client_that_disconnects_during_its_body_frees_the_memory(served, device):
    for _ in range(5):
        served.send(request_head("POST", INGEST, b"x" * 1000, device_token(device)) + b"{").close()
    assert send_reading(served, device) == 201
    wait_until(lambda: not any(one.reserved for one in served.application.body_budgets.values()))


def test_a_data_export_is_complete_and_slow_downloads_hold_no_thread(
    served, owner, device, archive
):
    token = user_token(owner)
    request = request_head("GET", "/api/v1/users/me/archive/file", token=token)
    # The first one is read to its end below.
    buffers = [0] + [4096] * (downloads.MAX_CONCURRENT_PER_CLIENT - 1)
    slow = [served.send(request, receive_buffer=size) for size in buffers]
    for connection in slow:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert send_reading(served, device) == 201
    # One more than the limit of concurrent downloads per client.
    refused = read_response(served.send(request))
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    rest = b""
    while piece := slow[0].recv(65536):
        rest += piece
    assert rest.endswith(archive[-1000:])


def test_slow_downloads_of_exports_hold_no_thread_and_no_transaction(served, owner, device):
    store_readings(device, payloads=[{"text": "x" * 10_000, "n": n} for n in range(400)])
    path = f"/api/v1/devices/{device.pk}/telemetry/export?format=ndjson"
    request = request_head("GET", path, token=user_token(owner))
    slow = [served.send(request, receive_buffer=4096) for _ in range(3)]
    for connection in slow:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert send_reading(served, device) == 201
    whole = read_response(served.send(request))
    assert whole.headers["content-length"] == str(len(whole.body))
    assert len(whole.body.splitlines()) == 401


def test_waiting_sign_ins_are_503_and_do_not_delay_devices(served, device, settings):
    settings.PASSWORD_HASHERS = ["tests.hashers.CheapHasher"]
    with hashers.hashing_slot():
        # As if hashing took forever.
        body = b'{"username": "unknown", "password": "wrong wrong wrong"}'
        waiting = [
            served.send(request_head("POST", "/api/v1/auth/login", body) + body)
            for _ in range(MANY)
        ]
        assert send_reading(served, device) == 201
        assert served.request("GET", "/sign-in").status == 200
        answers = [read_response(connection) for connection in waiting]
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) for answer in answers)
    assert served.request("POST", "/api/v1/auth/login", body).status == 401


def test_imports_are_limited_per_user_and_do_not_delay_devices(served, owner, device, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    bring_in = import_export._import_rows

    def held(*args, **options):
        begun.set()
        assert may_end.wait(120)
        return bring_in(*args, **options)

    monkeypatch.setattr(import_export, "_import_rows", held)
    token = user_token(owner)
    path = f"/api/v1/devices/{device.pk}/telemetry/import"
    body = gzip.compress(b"time,t\n2025-06-15T12:00:00Z,1\n")
    request = request_head(
        "POST", path, body, token, Content_Type="text/csv", Content_Encoding="gzip"
    )
    first = served.send(request + body)
    assert begun.wait(120)
    second = read_response(served.send(request + body))
    assert (second.status, "retry-after" in second.headers) == (503, True)
    assert send_reading(served, device) == 201
    assert served.request("GET", "/api/v1/devices", token=token).status == 200
    may_end.set()
    assert read_response(first).status == 200


def test_the_503_page_is_in_the_language_of_the_user(served, settings):
    settings.PASSWORD_HASHERS = ["tests.hashers.CheapHasher"]
    pool = served.application.pools["passwords"]
    pool.limits = replace(pool.limits, threads=0, timeout=0.01)
    answer = served.request(
        "POST", "/sign-in", b"a=1", Content_Type="text/plain", Accept_Language="de"
    )
    assert answer.status == 503
    assert 'lang="de"' in answer.body.decode()
    assert answer.headers["retry-after"]
    assert "content-security-policy" in answer.headers


def test_idle_connections_do_not_delay_requests(served, device):
    for number in range(1000):
        served.send(b"" if number % 2 else b"POST / HTTP/1.1\r\nHost:")
    assert send_reading(served, device) == 201


@pytest.mark.parametrize("rest", [b"{", b""])
def test_a_truncated_body_is_400(served, device, rest):
    connection = served.send(request_head("POST", INGEST, b"x" * 100, device_token(device)) + rest)
    connection.shutdown(socket.SHUT_WR)
    answer = read_response(connection)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_client_over_the_request_limit_is_429_and_others_are_not(served, device, settings):
    settings.REQUESTS_PER_CLIENT = (3, 3600)
    token = device_token(device)
    answers = [
        served.request("POST", INGEST, READING | {"payload": {"n": number}}, token)
        for number in range(5)
    ]
    # The client is known only after its first request.
    assert [answer.status for answer in answers] == [201, 201, 201, 201, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600
    other = Device.objects.create(user=device.user, name="other", device_type="sensor")
    assert send_reading(served, other) == 201


def patch(served: ServedSite, device: Device, **headers: str) -> int:
    body = {"metadata": {"n": 1}}
    return served.request("PATCH", f"/api/v1/devices/{device.pk}", body, **headers).status


class TestWriteLimit:
    def test_writes_over_the_limit_are_429_and_other_requests_are_not(
        self, served, owner, device, settings
    ):
        settings.WRITES_PER_USER = (3, 3600)
        token = user_token(owner)
        # The owner of a token is known only after its first request.
        served.request("GET", "/api/v1/users/me", token=token)
        assert [patch(served, device, token=token) for _ in range(4)] == [200, 200, 200, 429]
        refused = served.request("DELETE", f"/api/v1/devices/{device.pk}", token=token)
        assert refused.status == 429
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert served.request("GET", "/api/v1/devices", token=token).status == 200
        path = f"/api/v1/devices/{device.pk}/telemetry"
        assert served.request("POST", path, READING, token).status == 201
        assert send_reading(served, device) == 201

    def test_writes_are_also_limited_per_day(self, served, owner, device, settings):
        settings.WRITES_PER_USER_AND_DAY = (1, 86400)
        token = user_token(owner)
        served.request("GET", "/api/v1/users/me", token=token)
        assert [patch(served, device, token=token) for _ in range(2)] == [200, 429]

    def test_another_token_or_spelling_is_the_same_client(self, served, owner, device, settings):
        settings.WRITES_PER_USER = (1, 3600)
        first, second = user_token(owner), user_token(owner)
        for token in (first, second):
            served.request("GET", "/api/v1/users/me", token=token)
        assert patch(served, device, token=first) == 200
        for authorization in (f"Bearer {second}", f"bearer   {first}", f"BEARER {first} "):
            assert patch(served, device, Authorization=authorization) == 429

    def test_a_session_is_the_same_client_with_any_other_credentials(self, served, owner, settings):
        settings.WRITES_PER_USER = (1, 3600)
        name, key = settings.SESSION_COOKIE_NAME, session_key_of(owner)
        ways = [
            {"Cookie": f"{name}={key}"},
            {"Cookie": f"{name}=made-up; {name}={key}"},
            {"Cookie": f'{name}="{key}"'},
            {"Cookie": f"{name}={key}", "Authorization": "Bearer tsu_made_up"},
        ]
        assert served.request("GET", "/account", **ways[0]).status == 200
        # Without a CSRF token the request changes nothing, but it counts.
        answers = [served.request("POST", "/account", b"", **headers) for headers in ways]
        assert [answer.status for answer in answers] == [403, 429, 429, 429]


class TestEndedCredentials:
    """Requests with a credential that has ended do not use up the write limit of its user."""

    def test_a_revoked_token(self, served, owner, device, settings):
        settings.WRITES_PER_USER = (2, 3600)
        row, secret = tokens.issue(owner, scope=tokens.Scope.AUTH, now=timezone.now())
        assert served.request("GET", "/api/v1/users/me", token=secret.text).status == 200
        tokens.revoke(row)
        assert [patch(served, device, token=secret.text) for _ in range(4)] == [401] * 4
        assert_can_write(served, owner, device)

    def test_an_ended_session(self, served, owner, device, settings):
        settings.WRITES_PER_USER = (2, 3600)
        cookie = f"{settings.SESSION_COOKIE_NAME}={session_key_of(owner)}"
        assert served.request("GET", "/account", Cookie=cookie).status == 200
        access.end_access(User.objects.get(pk=owner.pk))
        assert served.request("GET", "/account", Cookie=cookie).status == 302
        statuses = [served.request("POST", "/account", b"", Cookie=cookie).status for _ in range(4)]
        assert statuses == [403] * 4
        owner.refresh_from_db()
        assert_can_write(served, owner, device)

    def test_a_read_only_token(self, served, owner, device, settings):
        settings.WRITES_PER_USER = (2, 3600)
        now = timezone.now()
        secret = tokens.issue(owner, scope=tokens.Scope.AUTH, now=now, access="read")[1]
        assert served.request("GET", "/api/v1/users/me", token=secret.text).status == 200
        assert [patch(served, device, token=secret.text) for _ in range(4)] == [403] * 4
        assert_can_write(served, owner, device)

    def test_a_token_that_authenticates_no_more_requests(self, served, owner, monkeypatch):
        token = user_token(owner)
        assert served.request("GET", "/api/v1/users/me", token=token).status == 200
        identify = served.application.clients.identify
        assert identify(environ_of(token=token)) == owner.pk
        monkeypatch.setattr(clients, "KNOWN_SECONDS", 0.0)
        assert identify(environ_of(token=token)) == "127.0.0.1"


def assert_can_write(served: ServedSite, owner: User, device: Device) -> None:
    token = user_token(owner)
    assert served.request("GET", "/api/v1/users/me", token=token).status == 200
    assert patch(served, device, token=token) == 200


def session_key_of(user: User) -> str:
    """Return the session cookie of a signed-in browser."""
    client = Client()
    client.force_login(user)
    return str(client.cookies[django_settings.SESSION_COOKIE_NAME].value)


def test_invalid_tokens_are_one_client_and_a_known_device_is_another(served, device):
    token = device_token(device)
    assert served.request("POST", INGEST, READING, token).status == 201
    clients = served.application.clients

    def environ(token: str) -> dict[str, str]:
        return {
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "PATH_INFO": INGEST,
            "REMOTE_ADDR": "127.0.0.1",
        }

    for number in range(3):
        assert served.request("POST", INGEST, READING, f"tsd_{number}").status == 401
    made_up = {clients.identify(environ(f"tsd_{number}")) for number in range(3)}
    assert made_up == {"127.0.0.1"}
    assert clients.identify(environ(token)) not in made_up


def test_a_client_can_download_any_number_of_files_in_sequence(served, owner, archive, monkeypatch):
    monkeypatch.setattr(downloads, "OPEN_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "MAX_CONCURRENT_PER_CLIENT", 1)
    token = user_token(owner)
    path = "/api/v1/users/me/archive/file"
    for number in range(4):
        if number % 2:
            # A download that is not read to its end.
            assert served.send(request_head("GET", path, token=token)).recv(10)
            served.opened.close()
        else:
            assert served.request("GET", path, token=token).body == archive
        wait_until(lambda: not served.application.downloads.running)


def test_a_head_request_for_a_large_file_has_its_length_and_reads_nothing(
    served, owner, archive, monkeypatch
):
    answer = served.request("HEAD", "/api/v1/users/me/archive/file", token=user_token(owner))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(archive))
    assert not served.application.downloads.running


def environ_of(token: str = "", cookie: str = "") -> dict[str, str]:
    """Return the parts of the environ that identify a client."""
    environ = {"PATH_INFO": INGEST, "REMOTE_ADDR": "127.0.0.1"}
    if token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    if cookie:
        environ["HTTP_COOKIE"] = f"{django_settings.SESSION_COOKIE_NAME}={cookie}"
    return environ


def test_invalid_credentials_next_to_a_known_token_are_not_cached(served, device):
    token = device_token(device)
    for number in range(3):
        cookie = f"{django_settings.SESSION_COOKIE_NAME}=made-up-{number}"
        assert served.request("POST", INGEST, [READING], token, Cookie=cookie).status == 201
    clients = served.application.clients
    assert len(clients.known) == 1
    made_up = {clients.identify(environ_of(cookie=f"made-up-{number}")) for number in range(3)}
    made_up |= {clients.identify(environ_of(token=f"made-up-{number}")) for number in range(3)}
    assert made_up == {"127.0.0.1"}


def test_a_user_is_the_same_client_with_a_device_token_in_addition(served, device, owner):
    session, token = session_key_of(owner), device_token(device)
    cookie = f"{django_settings.SESSION_COOKIE_NAME}={session}"
    assert served.request("GET", "/account", Cookie=cookie).status == 200
    assert served.request("POST", INGEST, READING, token).status == 201
    clients = served.application.clients
    assert clients.identify(environ_of(cookie=session)) == owner.pk
    assert clients.identify(environ_of(token=token, cookie=session)) == owner.pk
    assert clients.identify(environ_of(token=token)) != owner.pk


def test_only_requests_of_devices_slow_down_other_requests(served, device):
    for _ in range(request_pools.BUSY_THRESHOLD + 5):
        assert served.request("POST", "/x/telemetry", READING).status == 404
    assert not request_pools.are_devices_sending()


def test_an_invalid_forwarded_address_is_400(served, settings):
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    lines = request_head("GET", "/sign-in").removesuffix(b"\r\n")
    answer = read_response(served.send(lines + b"X-Forwarded-For: \xe9, 5.6.7.8\r\n\r\n"))
    assert answer.status == 400
    # A cookie of another site on the same host is ignored.
    answer = read_response(served.send(lines + b"Cookie: other=\xe9\r\n\r\n"))
    assert answer.status == 200


def test_a_large_response_is_sent_as_a_download_from_a_file(served, owner, device, monkeypatch):
    monkeypatch.setattr(django_handler, "LARGE_FILE_BYTES", 1000)
    store_readings(device, payloads=[{"text": "x" * 1000, "n": number} for number in range(50)])
    path = f"/api/v1/devices/{device.pk}/telemetry?limit=50"
    answer = served.request("GET", path, token=user_token(owner))
    assert answer.headers["content-length"] == str(len(answer.body))
    assert len(json.loads(answer.body)["results"]) == 50
    assert len(served.application.downloads.running) == 1
