"""With an https PUBLIC_URL the site refuses to start on settings that are unsafe in public."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

SHORTEST_KEY = 50


@register()
def check_setting_values(**kwargs: Any) -> list[CheckMessage]:
    """Errors for settings that are one of a few words."""
    if settings.REGISTRATION_MODE in ("open", "invitation", "closed"):
        return []
    return [Error("REGISTRATION_MODE is open, invitation or closed.", id="site.E008")]


@register()
def check_production_settings(**kwargs: Any) -> list[CheckMessage]:
    """Errors that stop `run`, `migrate` and every other command, but only behind https."""
    if not settings.HTTPS:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("DEBUG shows the inside of the site to everybody.", id="site.E001"))
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS must name the hosts, not '*'.", id="site.E002"))
    key = settings.SECRET_KEY
    if len(key) < SHORTEST_KEY or len(set(key)) < 10:
        hint = "Leave it unset, and one is made and kept in DATA_DIR."
        found.append(Error("SECRET_KEY is too weak.", hint=hint, id="site.E003"))
    return found


DURABLE = {"fsync": "site.E004", "synchronous_commit": "site.E005", "full_page_writes": "site.E006"}
"""Settings of PostgreSQL without which what was answered 2xx could be gone after a power cut."""


@register(Tags.database)
def check_durability(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Errors where the database does not keep what it says it has kept."""
    if not (settings.HTTPS and databases):
        return []
    found: list[CheckMessage] = []
    with connection.cursor() as cursor:
        for setting, code in DURABLE.items():
            cursor.execute("SELECT current_setting(%s)", [setting])
            if cursor.fetchone()[0] == "off":
                hint = "Readings that were answered 2xx could be lost."
                found.append(Error(f"PostgreSQL's {setting} is off.", hint=hint, id=code))
    return found


# Of a deployment: `migrate` itself must not be stopped by it.
@register(Tags.database, deploy=True)
def check_migrations(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """An error where the tables are not those of this code."""
    if not (settings.HTTPS and databases):
        return []
    waiting = pending_migration_count()
    if not waiting:
        return []
    hint = "Run `manage.py migrate` first."
    return [Error(f"{waiting} migrations are to be applied.", hint=hint, id="site.E007")]


def pending_migration_count() -> int:
    """How many are still to be applied."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def refuse_unsafe_start() -> None:
    """What the web server's processes ask before they answer anybody. Raises ImproperlyConfigured.

    While the database is away they start all the same: they are to be there when it is back.
    """
    if not settings.HTTPS:
        return
    try:
        found = run_checks(include_deployment_checks=True, databases=["default"])
    except OperationalError:
        found = run_checks()
    finally:
        connection.close()
    errors = [f"{one.id}: {one.msg}" for one in found if str(one.id).startswith("site.E")]
    if errors:
        raise ImproperlyConfigured("The site does not start. " + " ".join(errors))
