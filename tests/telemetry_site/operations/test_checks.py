"""What the site refuses to start on when it is public."""

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from telemetry_site.operations import checks

STRONG = "r9Tq2vXw8ZkLm4NpBs6YdF1gHj3Kc5Va7Ue0RoIiEeWwQqAa-strong"
UNSAFE = [
    ({"DEBUG": True}, "site.E001"),
    ({"ALLOWED_HOSTS": ["*"]}, "site.E002"),
    ({"SECRET_KEY": "short"}, "site.E003"),
    ({"SECRET_KEY": "a" * 80}, "site.E003"),
]


def ids() -> set[str | None]:
    return {message.id for message in run_checks()}


def start(**settings: object) -> str:
    """Why the site does not start."""
    safe = {"HTTPS": True, "SECRET_KEY": STRONG, "DEBUG": False}
    with override_settings(**{**safe, **settings}):
        try:
            checks.refuse_unsafe_start()
        except ImproperlyConfigured as error:
            return str(error)
    return ""


@pytest.fixture
def kept_open(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in the transaction of a test lasts until its end."""
    monkeypatch.setattr(connection, "close", lambda: None)


@pytest.mark.parametrize(("settings", "code"), UNSAFE)
def test_behind_https_an_unsafe_setting_is_an_error(settings: dict[str, object], code: str) -> None:
    with override_settings(HTTPS=True, **{"SECRET_KEY": STRONG, **settings}):
        assert code in ids()


@pytest.mark.parametrize(("settings", "code"), UNSAFE)
def test_on_the_own_machine_it_is_not(settings: dict[str, object], code: str) -> None:
    with override_settings(HTTPS=False, **settings):
        assert code not in ids()


def test_a_word_that_means_nothing_is_an_error() -> None:
    with override_settings(REGISTRATION_MODE="invitations"):
        assert "site.E008" in ids()


def test_safe_settings_behind_https_are_no_error() -> None:
    with override_settings(HTTPS=True, SECRET_KEY=STRONG, DEBUG=False):
        assert not {code for code in ids() if code and code.startswith("site.")}


@pytest.mark.usefixtures("kept_open")
class TestStarting:
    def test_it_starts_on_a_safe_database(self) -> None:
        assert start() == ""

    @pytest.mark.parametrize(("settings", "code"), UNSAFE)
    def test_it_does_not_on_an_unsafe_setting(self, settings: dict[str, object], code: str) -> None:
        assert code in start(**settings)

    def test_it_does_not_where_a_commit_does_not_wait_for_the_disk(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
        assert "site.E005: PostgreSQL's synchronous_commit is off." in start()
        assert start(HTTPS=False) == ""

    def test_it_does_not_before_its_tables_are_those_of_the_code(self) -> None:
        MigrationRecorder(connection).migration_qs.filter(app="devices").delete()
        assert "site.E007" in start()
        assert start(HTTPS=False) == ""

    def test_it_does_while_the_database_is_away(self) -> None:
        def away() -> None:
            raise OperationalError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connection, "cursor", away)
            assert start() == ""
            assert "site.E001" in start(DEBUG=True)
