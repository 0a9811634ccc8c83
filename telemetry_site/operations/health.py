"""`/livez` and `/readyz`: whether this process works, and whether to send it requests.

They are answered before anything else is done, to anybody and under any name: a probe knows
neither a host nor a token. The granian of the Procfile does not even ask for `/livez`, but answers
from probe/: a probe that waits behind a thousand readings would tell of them, and not of the site.
"""

from collections.abc import Callable

from django.conf import settings
from django.db import Error, connection
from django.http import HttpResponse, JsonResponse

from common import quotas
from telemetry_site.operations.checks import pending_migration_count

PATHS = {"/livez", "/readyz"}
NOT_KEPT = {"Cache-Control": "no-store"}


def probe_response(path: str) -> HttpResponse:
    """The answer to a probe of one of PATHS."""
    if path == "/livez":
        return HttpResponse("ok\n", content_type="text/plain", headers=NOT_KEPT)
    found = {name: check() for name, check in CHECKS.items()}
    ready = all(said == "ok" for said in found.values())
    return JsonResponse(found, status=200 if ready else 503, headers=NOT_KEPT)


def draining() -> str:
    """Whether the site was told to end, and only finishes what it has begun."""
    return "the site is ending" if settings.DRAINING_FILE.exists() else "ok"


def disk() -> str:
    """Whether there is room below DATA_DIR."""
    free = quotas.free_bytes()
    return "ok" if free >= settings.DISK_RESERVE else f"only {free} bytes are free"


def database() -> str:
    """Whether the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return "the database does not answer"
    return "ok"


def migrations() -> str:
    """Whether the tables are those of this code; once they are, that is not asked again."""
    if not _migrations_cache.done:
        try:
            waiting = pending_migration_count()
        except Error:
            return "the database does not answer"
        if waiting:
            return f"{waiting} migrations are to be applied"
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
