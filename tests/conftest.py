"""The cast: an owner with a device, a stranger, a member of staff, and how each of them speaks."""

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
from tests.telemetry.rolling import set_rolled_until

hypothesis_settings.register_profile("suite", max_examples=50, deadline=None, derandomize=True)
hypothesis_settings.load_profile("suite")


class Api:
    """Speaks JSON to the API as whoever the token belongs to; without one, as nobody."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"} if token else {})

    def get(self, path: str, query: Any = None, **headers: str) -> HttpResponse:
        """`query` is a dict or a list of pairs."""
        return self.client.get(path, query_params=query, headers=headers)

    def post(self, path: str, body: Any = None, **how: Any) -> HttpResponse:
        return self.send("POST", path, body, **how)

    def patch(self, path: str, body: Any = None, **how: Any) -> HttpResponse:
        return self.send("PATCH", path, body, **how)

    def delete(self, path: str, body: Any = None, **how: Any) -> HttpResponse:
        return self.send("DELETE", path, body, **how)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Bytes are sent as they are, anything else as JSON, None as no body at all."""
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, path, body, content_type, headers=headers)


@pytest.fixture(scope="session", autouse=True)
def _settings_for_tests() -> Iterator[None]:
    """Nothing to collect before pages can be made, and passwords that are cheap to hash."""
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
def _measured_where_that_tells_something(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where the same is done again and again, or by other processes, coverage takes as much time
    as all the rest, and tells little.
    """
    unmeasured = any(map(request.node.get_closest_marker, ("unmeasured", "browser")))
    measuring = Coverage.current() if unmeasured else None
    if measuring:
        measuring.stop()
    yield
    if measuring:
        measuring.start()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The months most readings of the tests fall into, as a worker would have made them, which
    has rolled up everything before NOW.
    """
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            # Django's flush of the database after a test truncates the audit trail, too.
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET audit.truncating = 'on'")
            cursor.execute("SET audit.truncating = 'on'")
        set_rolled_until(NOW)
        partitions.ensure_ahead(NOW)
        partitions.ensure_ahead(timezone.now())


@pytest.fixture(autouse=True)
def _nothing_of_another_test(
    request: pytest.FixtureRequest, django_db_blocker: Any
) -> Iterator[None]:
    """What a test has committed is gone after it, where Django's own flush does not look: the jobs
    for the worker, and how far it has rolled up.
    """
    yield
    marker = request.node.get_closest_marker("django_db")
    if "transactional_db" in request.fixturenames or (marker and marker.kwargs.get("transaction")):
        with django_db_blocker.unblock():
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM procrastinate_jobs")
            set_rolled_until(NOW)


@pytest.fixture(autouse=True)
def _rules_of_no_other_test() -> None:
    """The rules of retention that a process holds outlive a test; the rows are rolled back."""
    retention.cache_rules(retention.RuleSet([]))


@pytest.fixture
def commits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a commit happens, though the transaction of the test will never see one."""
    monkeypatch.setattr(transaction, "on_commit", lambda work: work())


@pytest.fixture
def inbox(db: None, settings: Any) -> Iterator[Inbox]:
    """Where all mail goes: a real server."""
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


def close(answer: HttpResponseBase) -> None:
    """Let go of the file or the export of an answer, but not of the test's own connection."""
    request_finished.disconnect(close_old_connections)
    answer.close()
    request_finished.connect(close_old_connections)
