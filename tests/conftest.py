"""Common fixtures: an owner with a device, a stranger, a staff user, and a client of each."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage
from django.conf import settings as django_settings
from django.core.signals import request_finished
from django.db import close_old_connections, connection, transaction
from django.http import HttpResponse, HttpResponseBase
from django.test import Client, override_settings
from django.utils import timezone
from hypothesis import settings as hypothesis_settings

from accounts.models import User
from devices.models import Device
from telemetry.retention import partitions
from telemetry.retention import rules as retention
from tests.factories import (
    NOW,
    DeviceFactory,
    StaffFactory,
    UserFactory,
    device_token,
    user_token,
)
from tests.mail import Inbox, mail_server
from tests.telemetry.rollup_state import set_rollup_watermark

hypothesis_settings.register_profile("suite", max_examples=50, deadline=None, derandomize=True)
hypothesis_settings.load_profile("suite")


class Api:
    """A JSON client of the API, authenticated by the token, or anonymous without one."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"} if token else {})

    def get(self, path: str, query: Any = None, **headers: str) -> HttpResponse:
        """Send a GET request; `query` is a dict or a list of pairs."""
        return self.client.get(path, query_params=query, headers=headers)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> HttpResponse:
        return self.send("POST", path, body, **kwargs)

    def patch(self, path: str, body: Any = None, **kwargs: Any) -> HttpResponse:
        return self.send("PATCH", path, body, **kwargs)

    def delete(self, path: str, body: Any = None, **kwargs: Any) -> HttpResponse:
        return self.send("DELETE", path, body, **kwargs)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Send bytes unchanged, any other body as JSON, and None as an empty body."""
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, path, body, content_type, headers=headers)


@pytest.fixture(scope="session", autouse=True)
def _settings_for_tests() -> Iterator[None]:
    """Render pages without collectstatic, and hash passwords with cheap parameters."""
    Path(django_settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    with override_settings(
        PASSWORD_HASHERS=["tests.hashers.CheapHasher"],
        STORAGES={
            **django_settings.STORAGES,
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        },
    ):
        yield


@pytest.fixture(scope="module", autouse=True)
def _coverage_off_if_unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch coverage off in modules that repeat the same code or test other processes: it doubles
    their time and adds no information.
    """
    unmeasured = any(map(request.node.get_closest_marker, ("unmeasured", "browser")))
    coverage = Coverage.current() if unmeasured else None
    if coverage:
        coverage.stop()
    yield
    if coverage:
        coverage.start()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Create the partitions that most tests use, and mark all hours before NOW as rolled up."""
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            # After a transactional test Django truncates all tables, the audit trail too.
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET audit.truncating = 'on'")
            cursor.execute("SET audit.truncating = 'on'")
        set_rollup_watermark(NOW)
        partitions.ensure_ahead(NOW)
        partitions.ensure_ahead(timezone.now())


@pytest.fixture(autouse=True)
def _reset_after_transactional_test(
    request: pytest.FixtureRequest, django_db_blocker: Any
) -> Iterator[None]:
    """After a transactional test, reset what Django's flush does not: jobs and rollup watermark."""
    yield
    marker = request.node.get_closest_marker("django_db")
    if "transactional_db" in request.fixturenames or (marker and marker.kwargs.get("transaction")):
        with django_db_blocker.unblock():
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM procrastinate_jobs")
            set_rollup_watermark(NOW)


@pytest.fixture(autouse=True)
def _no_cached_retention_rules() -> None:
    """Clear the cached retention rules: the rollback of a test does not."""
    retention.cache_rules(retention.RuleSet([]))


@pytest.fixture
def immediate_on_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on_commit callbacks immediately, because the transaction of a test is never committed."""
    monkeypatch.setattr(transaction, "on_commit", lambda work: work())


@pytest.fixture
def inbox(db: None, settings: Any) -> Iterator[Inbox]:
    """A real SMTP server that receives all mail."""
    with mail_server() as inbox:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", inbox.port
        yield inbox


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def owner(db: None) -> User:
    return UserFactory.create(username="owner")


@pytest.fixture
def stranger(db: None) -> User:
    return UserFactory.create(username="stranger")


@pytest.fixture
def staff(db: None) -> User:
    return StaffFactory.create(username="staff")


@pytest.fixture
def device(owner: User) -> Device:
    return DeviceFactory.create(user=owner, name="greenhouse")


@pytest.fixture
def owner_client(owner: User) -> Client:
    return signed_in(owner)


@pytest.fixture
def stranger_client(stranger: User) -> Client:
    return signed_in(stranger)


@pytest.fixture
def staff_client(staff: User) -> Client:
    return signed_in(staff)


@pytest.fixture
def owner_api(owner: User) -> Api:
    return Api(user_token(owner))


@pytest.fixture
def stranger_api(stranger: User) -> Api:
    return Api(user_token(stranger))


@pytest.fixture
def device_api(device: Device) -> Api:
    return Api(device_token(device))


@pytest.fixture
def anonymous_api(db: None) -> Api:
    return Api()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def close(response: HttpResponseBase) -> None:
    """Close the response without closing the database connection of the test."""
    request_finished.disconnect(close_old_connections)
    response.close()
    request_finished.connect(close_old_connections)
