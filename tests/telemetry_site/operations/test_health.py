"""Probes: whether the process works, and whether to send it requests."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from telemetry_site.operations import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def not_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health._migrations_cache, "done", False)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Any) -> None:
    settings.DRAINING_FILE = tmp_path / "draining"


def ready() -> tuple[int, dict[str, str]]:
    # A probe knows no name of the site.
    answer = Client(headers={"Host": "10.1.2.3:8000"}).get("/readyz")
    assert answer["Cache-Control"] == "no-store"
    return answer.status_code, {k: v for k, v in answer.json().items() if v != "ok"}


def test_it_is_ready() -> None:
    assert ready() == (200, {})


def test_it_lives_whatever_the_database_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "cursor", lambda: 1 / 0)
    answer = Client(headers={"Host": "10.1.2.3"}).get("/livez")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_it_is_not_ready_once_it_was_told_to_end(settings: Any) -> None:
    settings.DRAINING_FILE.touch()
    assert ready() == (503, {"draining": "the site is ending"})


def test_it_is_not_ready_without_room_on_the_disk(settings: Any) -> None:
    settings.DISK_RESERVE = 2**63
    status, why = ready()
    assert (status, set(why)) == (503, {"disk"})


def test_it_is_not_ready_while_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> None:
        raise OperationalError

    monkeypatch.setattr(connection, "cursor", away)
    status, why = ready()
    assert (status, set(why)) == (503, {"database", "migrations"})


def test_it_is_not_ready_before_its_tables_are(django_assert_num_queries: Any) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="devices").delete()
    status, why = ready()
    assert (status, set(why)) == (503, {"migrations"})


def test_what_is_there_is_looked_for_once(django_assert_num_queries: Any) -> None:
    ready()
    with django_assert_num_queries(1):
        ready()
