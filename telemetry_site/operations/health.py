"""The probes `/livez` (the process works) and `/readyz` (the process can take requests).

They need no token and accept any host name, because probes have neither. With the Procfile,
granian itself serves `/livez` from probe/: otherwise a probe would wait behind the requests of
devices, and fail although the site works.
"""

from collections.abc import Callable

from django.conf import settings
from django.db import Error, connection
from django.http import HttpResponse, JsonResponse

from common import quotas
from telemetry_site.operations.checks import pending_migration_count

PATHS = {"/livez", "/readyz"}
NO_STORE = {"Cache-Control": "no-store"}


def probe_response(path: str) -> HttpResponse:
    """Return the response to a probe of one of PATHS."""
    if path == "/livez":
        return HttpResponse("ok\n", content_type="text/plain", headers=NO_STORE)
    found = {name: check() for name, check in CHECKS.items()}
    ready = all(result == "ok" for result in found.values())
    return JsonResponse(found, status=200 if ready else 503, headers=NO_STORE)


def draining() -> str:
    """Return "ok" unless the site is shutting down."""
    return "the site is shutting down" if settings.DRAINING_FILE.exists() else "ok"


def disk() -> str:
    """Return "ok" if the disk of DATA_DIR has enough free space."""
    free = quotas.free_bytes()
    return "ok" if free >= settings.DISK_RESERVE else f"only {free} bytes are free"


def database() -> str:
    """Return "ok" if the database responds."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return "the database does not respond"
    return "ok"


def migrations() -> str:
    """Return "ok" if all migrations are applied. This result is cached."""
    if not _migrations_cache.done:
        try:
            pending = pending_migration_count()
        except Error:
            return "the database does not respond"
        if pending:
            return f"{pending} migrations are pending"
        _migrations_cache.done = True
    return "ok"


class _migrations_cache:
    done = False


CHECKS: dict[str, Callable[[], str]] = {
    "draining": draining,
    "disk": disk,
    "database": database,
    "migrations": migrations,
}
