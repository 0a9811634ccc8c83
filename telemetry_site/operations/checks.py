"""System checks. With an https PUBLIC_URL the site does not start with unsafe settings."""

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

MIN_KEY_LENGTH = 50
RENAMED = {
    "ALLOWED_CLOCK_SKEW": "MAX_CLOCK_SKEW_SECONDS",
    "INFLATED_LIMIT": "MAX_DECOMPRESSED_BODY",
    "REGISTRATION": "REGISTRATION_MODE",
    "STAFF_SECOND_FACTOR": "REQUIRE_STAFF_MFA",
    "UNVERIFIED_MAY_SIGN_IN": "ALLOW_UNVERIFIED_LOGIN",
}
"""Former names of environment variables."""


@register()
def check_setting_values(**kwargs: Any) -> list[CheckMessage]:
    """Return errors for settings that allow only some values, and for former names: a setting under
    its former name would be ignored.
    """
    found: list[CheckMessage] = [
        Error(f"{former} is now called {name}. Rename it.", id="site.E009")
        for former, name in RENAMED.items()
        if former in os.environ
    ]
    if settings.REGISTRATION_MODE not in ("open", "invitation", "closed"):
        found.append(Error("REGISTRATION_MODE is open, invitation or closed.", id="site.E008"))
    return found


@register()
def check_production_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return errors that stop every command (`run`, `migrate` …), but only with https."""
    if not settings.HTTPS:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        message = "DEBUG must be off: its error pages show internals of the site to all clients."
        found.append(Error(message, id="site.E001"))
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS must name the hosts, not '*'.", id="site.E002"))
    key = settings.SECRET_KEY
    if len(key) < MIN_KEY_LENGTH or len(set(key)) < 10:
        hint = "Leave it unset: the site then creates one in DATA_DIR."
        found.append(Error("SECRET_KEY is too weak.", hint=hint, id="site.E003"))
    return found


DURABLE = {"fsync": "site.E004", "synchronous_commit": "site.E005", "full_page_writes": "site.E006"}
"""Settings of PostgreSQL. With one of them off, a power cut could lose readings after a 2xx
response.
"""


@register(Tags.database)
def check_durability(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return errors if the database may lose committed transactions."""
    if not (settings.HTTPS and databases):
        return []
    found: list[CheckMessage] = []
    with connection.cursor() as cursor:
        for setting, code in DURABLE.items():
            cursor.execute("SELECT current_setting(%s)", [setting])
            if cursor.fetchone()[0] == "off":
                hint = "Readings could be lost after a 2xx response."
                found.append(Error(f"PostgreSQL's {setting} is off.", hint=hint, id=code))
    return found


# Only with --deploy, because it must not stop `migrate` itself.
@register(Tags.database, deploy=True)
def check_migrations(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return an error if migrations are pending."""
    if not (settings.HTTPS and databases):
        return []
    pending = pending_migration_count()
    if not pending:
        return []
    hint = "Run `manage.py migrate` first."
    return [Error(f"{pending} migrations are pending.", hint=hint, id="site.E007")]


def pending_migration_count() -> int:
    """Return how many migrations are pending."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def refuse_unsafe_start() -> None:
    """Raise ImproperlyConfigured if a check of this site fails. Called by each process of the web
    server before its first request.

    Without the database only the other checks run, so that the processes start and serve as soon as
    the database is back.
    """
    if not settings.HTTPS:
        return
    try:
        found = run_checks(include_deployment_checks=True, databases=["default"])
    except OperationalError:
        found = run_checks()
    finally:
        connection.close()
    errors = [f"{each.id}: {each.msg}" for each in found if str(each.id).startswith("site.E")]
    if errors:
        raise ImproperlyConfigured("The site does not start. " + " ".join(errors))
