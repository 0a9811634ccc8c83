"""Settings with which a public site does not start."""

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
    """Return why the site does not start, or an empty string."""
    safe = {"HTTPS": True, "SECRET_KEY": STRONG, "DEBUG": False}
    with override_settings(**{**safe, **settings}):
        try:
            checks.refuse_unsafe_start()
        except ImproperlyConfigured as error:
            return str(error)
    return ""


@pytest.fixture
def keep_connection_open(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the connection open, so that settings of the transaction stay until the end of the
    test.
    """
    monkeypatch.setattr(connection, "close", lambda: None)


@pytest.mark.parametrize(("settings", "code"), UNSAFE)
def test_behind_https_an_unsafe_setting_is_an_error(settings: dict[str, object], code: str) -> None:
    with override_settings(HTTPS=True, **{"SECRET_KEY": STRONG, **settings}):
        assert code in ids()


@pytest.mark.parametrize(("settings", "code"), UNSAFE)
def test_without_https_an_unsafe_setting_is_no_error(
    settings: dict[str, object], code: str
) -> None:
    with override_settings(HTTPS=False, **settings):
        assert code not in ids()


def test_an_unknown_value_of_a_setting_is_an_error() -> None:
    with override_settings(REGISTRATION_MODE="invitations"):
        assert "site.E008" in ids()


def test_a_setting_under_its_former_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAFF_SECOND_FACTOR", "true")
    assert "site.E009" in ids()


def test_safe_settings_behind_https_are_no_error() -> None:
    with override_settings(HTTPS=True, SECRET_KEY=STRONG, DEBUG=False):
        assert not {code for code in ids() if code and code.startswith("site.")}


@pytest.mark.usefixtures("keep_connection_open")
class TestStart:
    def test_the_site_starts_with_a_safe_database(self) -> None:
        assert start() == ""

    @pytest.mark.parametrize(("settings", "code"), UNSAFE)
    def test_the_site_does_not_start_with_an_unsafe_setting(
        self, settings: dict[str, object], code: str
    ) -> None:
        assert code in start(**settings)

    def test_the_site_does_not_start_with_asynchronous_commit(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
        assert "site.E005: PostgreSQL's synchronous_commit is off." in start()
        assert start(HTTPS=False) == ""

    def test_the_site_does_not_start_with_pending_migrations(self) -> None:
        MigrationRecorder(connection).migration_qs.filter(app="devices").delete()
        assert "site.E007" in start()
        assert start(HTTPS=False) == ""

    def test_the_site_starts_without_a_database(self) -> None:
        def raise_operational_error() -> None:
            raise OperationalError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connection, "cursor", raise_operational_error)
            assert start() == ""
            assert "site.E001" in start(DEBUG=True)
