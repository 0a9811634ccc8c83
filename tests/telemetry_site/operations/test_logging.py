"""JSON log lines, and secrets that must not be logged."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client

from accounts.sessions.store import SessionStore
from devices.models import Device
from telemetry_site.operations.logging import JSONFormatter
from tests.conftest import Api
from tests.factories import device_token

pytestmark = pytest.mark.django_db
TELEMETRY = "/api/v1/device/telemetry"


@pytest.fixture
def lines(settings: Any) -> Iterator[list[dict[str, Any]]]:
    """Return the JSON lines logged so far, each time it is iterated."""

    class Lines(list[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return map(json.loads, handler.stream.getvalue().splitlines())

    settings.LOG_REQUESTS = True
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JSONFormatter())
    logging.getLogger().addHandler(handler)
    yield Lines()
    logging.getLogger().removeHandler(handler)


def test_a_request_is_one_line_without_body_and_secrets(
    device: Device, lines: list[dict[str, Any]]
) -> None:
    token = device_token(device)
    body = {"telemetry_type": "environment", "payload": {"note": "swordfish"}}
    answer = Api(token).post(f"{TELEMETRY}?key=swordfish", body)
    (line,) = [
        line for line in lines if line["logger"] == "telemetry_site.middleware.request_metrics"
    ]
    assert line.pop("duration_ms") >= 0
    assert line.pop("time").endswith("+00:00")
    assert line.pop("message").startswith(f"POST {TELEMETRY} 201 ")
    assert line == {
        "level": "INFO",
        "logger": "telemetry_site.middleware.request_metrics",
        "request_id": answer["X-Request-Id"],
        "method": "POST",
        "path": TELEMETRY,
        "status": 201,
    }
    written = json.dumps(list(lines))
    assert "swordfish" not in written
    assert token[8:] not in written


def test_a_token_in_a_path_is_masked(lines: list[dict[str, Any]]) -> None:
    # A token that was not issued: issued tokens may not be in a URL (tests/leaks.py).
    token = f"tsd_{'0aZ' * 16}0"
    Api().get(f"/api/v1/{token}")
    paths = [line["path"] for line in lines if "path" in line]
    assert paths == [f"/api/v1/{token[:8]}…"]


@pytest.mark.parametrize("link", ["password-reset", "verify-email", "join", "sign-in/link"])
def test_the_token_of_a_mailed_link_is_masked(lines: list[dict[str, Any]], link: str) -> None:
    secret = f"tsv_{'0aZ' * 16}0"
    Client().get(f"/{link}/{secret}")
    assert [line["path"] for line in lines if "path" in line] == [f"/{link}/{secret[:8]}…"]
    assert secret[8:] not in json.dumps(list(lines))


def test_every_line_of_a_request_has_its_id(lines: list[dict[str, Any]]) -> None:
    answer = Api().get("/api/v1/nothing")
    logging.getLogger("elsewhere").warning("said %s", "so")
    *_, last = lines
    assert (last["message"], last["request_id"]) == ("said so", answer["X-Request-Id"])


def test_an_exception_is_part_of_its_line(lines: list[dict[str, Any]]) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("elsewhere").exception("it failed")
    *_, last = lines
    assert last["exception"].endswith("ValueError: why")


def test_a_database_error_of_a_page_is_one_line_without_a_traceback(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_operational_error(*args: Any) -> None:
        raise OperationalError("connection refused\n\tIs the server running?")

    monkeypatch.setattr(SessionStore, "load", raise_operational_error)
    browser = Client(raise_request_exception=False)
    browser.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    answer = browser.get("/devices")
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    (line,) = [line for line in lines if line["logger"] == "django.request"]
    assert line["message"] == "Service Unavailable: /devices: connection refused"
    assert "exception" not in line
