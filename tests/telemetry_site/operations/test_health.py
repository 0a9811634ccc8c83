"""Probes: liveness and readiness."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from telemetry_site.operations import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reset_migrations_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health._migrations_cache, "done", False)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Any) -> None:
    settings.DRAINING_FILE = tmp_path / "draining"


def ready() -> tuple[int, dict[str, str]]:
    # A probe does not know the host name of the site.
    answer = Client(headers={"Host": "10.1.2.3:8000"}).get("/readyz")
    assert answer["Cache-Control"] == "no-store"
    return answer.status_code, {k: v for k, v in answer.json().items() if v != "ok"}


def test_a_healthy_site_is_ready() -> None:
    assert ready() == (200, {})


def test_the_site_is_live_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "cursor", lambda: 1 / 0)
    answer = Client(headers={"Host": "10.1.2.3"}).get("/livez")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_a_draining_site_is_not_ready(settings: Any) -> None:
    settings.DRAINING_FILE.touch()
    assert ready() == (503, {"draining": "the site is shutting down"})


def test_without_free_disk_space_the_site_is_not_ready(settings: Any) -> None:
    settings.DISK_RESERVE = 2**63
    status, why = ready()
    assert (status, set(why)) == (503, {"disk"})


def test_without_a_database_the_site_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_operational_error() -> None:
        raise OperationalError

    monkeypatch.setattr(connection, "cursor", raise_operational_error)
    status, why = ready()
    assert (status, set(why)) == (503, {"database", "migrations"})


def test_with_pending_migrations_the_site_is_not_ready(django_assert_num_queries: Any) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="devices").delete()
    status, why = ready()
    assert (status, set(why)) == (503, {"migrations"})


def test_applied_migrations_are_checked_once(django_assert_num_queries: Any) -> None:
    ready()
    with django_assert_num_queries(1):
        ready()
