"""Requests that no browser and no device would send."""

import base64
import io
import logging

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client

from accounts.models import User
from accounts.tokens import services as tokens
from devices.models import Device
from telemetry_site.operations.logging import TokenMaskingFilter
from tests.conftest import Api, signed_in
from tests.factories import DeviceFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    [
        "/admin/telemetry/retentionrule/add/",
        "/admin/commands/command/add/",
        "/admin/devices/device/add/",
    ],
)
def test_an_invalid_id_in_a_form_of_the_admin_is_a_form_error(
    staff_client: Client, path: str
) -> None:
    answer = staff_client.post(path, {"device": "zzz", "user": "zzz", "name": "x"})
    assert answer.status_code == 200
    assert b"errorlist" in answer.content


@pytest.mark.parametrize("path", ["/", "/sign-in", "/api/v1/devices", "/admin/"])
def test_a_cookie_with_a_nul_byte_is_400(path: str) -> None:
    cookie = f'{settings.SESSION_COOKIE_NAME}="abcdefghijk\\000"'
    assert Client(headers={"Cookie": cookie}).get(path).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/admin/devices/device/?status__exact=%00",
        "/admin/commands/command/add/?device=%00",
        "/admin/commands/command/add/?device=zz",
        "/admin/autocomplete/?app_label=devices&model_name=device&field_name=user&term=%00",
    ],
)
def test_an_invalid_query_of_the_admin_is_no_server_error(staff_client: Client, path: str) -> None:
    assert staff_client.get(path).status_code < 500


@pytest.mark.parametrize("position", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
@pytest.mark.parametrize("list_of", ["", "/{0}/tokens", "/{0}/commands"])
def test_a_cursor_at_the_limits_of_dates_is_422(
    owner_api: Api, device: Device, position: str, list_of: str
) -> None:
    cursor = base64.b64encode(f"p={position}".encode()).decode()
    path = "/api/v1/devices" + list_of.format(device.pk)
    assert owner_api.get(path, {"cursor": cursor}).status_code == 422


@pytest.mark.parametrize("version", ["%0a", "%C3%A9", "2"])
def test_the_schema_has_one_version(version: str) -> None:
    answer = Client().get(f"/api/v1/schema?version={version}")
    assert answer.status_code == 200
    assert answer.json()["info"]["version"] == "1"


@pytest.mark.parametrize(("count", "told"), [(250, 20), (1000, 1)])
def test_the_number_of_reported_unknown_fields_is_limited(count: int, told: int) -> None:
    body = {f"field{number}": [] for number in range(count)}
    assert len(Api().post("/api/v1/auth/login", body).json()["errors"]) == told


def test_the_number_of_errors_of_a_large_batch_is_limited(device_api: Api) -> None:
    bad = {f"field{number}": [] for number in range(50)}
    answer = device_api.post("/api/v1/device/telemetry", [bad] * 1000)
    assert len(answer.json()["errors"]) == 100 * 20 + 900


def test_the_admin_without_its_slash_redirects() -> None:
    assert Client().get("/admin")["Location"] == "/admin/"


def test_the_log_contains_no_token(owner: User, caplog: pytest.LogCaptureFixture) -> None:
    _, secret = tokens.issue(owner, scope=tokens.Scope.SIGN_IN, now=owner.created_at)
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(TokenMaskingFilter())
    logging.getLogger("django.request").addHandler(handler)
    try:
        Client().options(f"/sign-in/link/{secret.text}")
        Client().get(f"/sign-in/link/{secret.text}/x")
    finally:
        logging.getLogger("django.request").removeHandler(handler)
    said = handler.stream.getvalue()
    assert secret.display_prefix in said
    assert secret.text[:20] not in said
    assert "without_secrets" in settings.LOGGING["handlers"]["console"]["filters"]


def test_a_forged_host_is_logged_without_a_traceback() -> None:
    (handler,) = [one for one in logging.getLogger().handlers if one.name == "console"]
    said = io.StringIO()
    before = handler.setStream(said)  # type: ignore[attr-defined]
    try:
        assert Client().get("/api/v1/devices", headers={"Host": "evil.example"}).status_code == 400
    finally:
        handler.setStream(before)  # type: ignore[attr-defined]
    assert "evil.example" in said.getvalue()
    assert "Traceback" not in said.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_page_is_503_while_a_table_is_locked() -> None:
    DeviceFactory.create(user=(owner := UserFactory.create()))
    browser = signed_in(owner)
    browser.raise_request_exception = False
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor, connection.cursor() as ours:
            cursor.execute("BEGIN; LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
            ours.execute("SET lock_timeout = 10")
            answer = browser.get("/")
            ours.execute("SET lock_timeout = 2000")
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert browser.get("/").status_code == 200


def test_a_content_length_with_an_underscore_is_ignored(owner_api: Api) -> None:
    # Django uses this header as Content-Length if the real one is missing.
    answer = owner_api.client.generic(
        "POST",
        "/api/v1/devices",
        HTTP_CONTENT_LENGTH="5",
        CONTENT_TYPE="application/json",
    )
    assert answer.status_code in (400, 422)
