"""Which pool of threads works on a request, and how long its body may be."""

from typing import Any, NamedTuple

from django.conf import settings
from django.urls import Resolver404, resolve

from common.request_pools import PASSWORDS, TRANSFERS
from telemetry_site.operations import health, metrics
from telemetry_site.server.clients import DEVICE_API
from telemetry_site.server.environ import Environ
from telemetry_site.server.thread_pools import Limits

DEVICES, BATCHES, SITE, OPERATIONS = "devices", "batches", "site", "operations"
POOLS = {
    # Readings and commands of devices, which must never wait for what others do.
    DEVICES: Limits(
        3, per_client=1, per_endpoint=2, patience=5.0, waiting_per_client=1000, gives_way=False
    ),
    # Large bodies of readings take as long as a thousand small ones.
    BATCHES: Limits(threads=2, per_client=1, per_endpoint=2, patience=5.0),
    # Pages, the API, the admin.
    SITE: Limits(threads=3, per_client=2, per_endpoint=2, patience=5.0),
    # A hash takes all cores for a moment; a file takes a thread for many seconds.
    PASSWORDS: Limits(
        1, per_client=1, per_endpoint=1, patience=0.9, waiting_per_client=10, longest_rest=0.3
    ),
    TRANSFERS: Limits(threads=3, per_client=1, per_endpoint=2, patience=0.9, waiting_per_client=10),
    # What watches the site, and is asked seldom.
    OPERATIONS: Limits(threads=1, per_client=1, per_endpoint=1, patience=5.0),
}
"""Of each process. Together the threads are as many as its connections to the database."""

INGEST = "/telemetry"
SMALL = 32 * 1024
"""Bytes of a body of readings that takes no longer than any other request."""
BODIES = {DEVICES: 2000, TRANSFERS: 3}
"""How many of the largest bodies there is room for in each process; 32 in other pools."""
SAFE = {"GET", "HEAD", "OPTIONS"}


def bodies_of(pool: str) -> int:
    """Return how many bytes of bodies are received at a time for a pool.

    Each pool has room of its own, so that large bodies never take that of readings.
    """
    largest = {DEVICES: SMALL, TRANSFERS: settings.IMPORT_LIMIT}.get(pool, settings.BODY_LIMIT)
    return BODIES.get(pool, 32) * int(largest)


class Route(NamedTuple):
    """Where a request belongs."""

    endpoint: str
    """All requests to a view have the same."""
    pool: str
    body_limit: int
    is_write: bool = False
    """Whether it may change something other than readings."""


def find(environ: Environ) -> Route:
    """Return the route of a request; one that no view answers has one, too."""
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if not path.startswith("/admin/"):
        path = path.rstrip("/") or "/"
    if path.startswith(DEVICE_API) or (method == "POST" and path.endswith(INGEST)):
        return Route(path[:64], DEVICES if _is_small(environ) else BATCHES, settings.BODY_LIMIT)
    if path in health.PATHS or path == metrics.PATH:
        return Route(path, OPERATIONS, settings.BODY_LIMIT)
    return _of_view(path, method)


def _of_view(path: str, method: str) -> Route:
    try:
        match = resolve(path)
    except Resolver404:
        return Route("", SITE, settings.BODY_LIMIT)
    view: Any = match.func
    # A class of DRF or Django, an admin, or the function itself.
    view = getattr(view, "cls", None) or getattr(view, "model_admin", None) or view
    pool = getattr(view, "request_pool", SITE)
    if pool == PASSWORDS and method in SAFE:
        pool = SITE
    limit = getattr(settings, getattr(view, "body_limit_setting", "BODY_LIMIT"))
    return Route(match.route, pool, limit, is_write=method not in SAFE)


def _is_small(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH") or "0"
    return (
        "HTTP_TRANSFER_ENCODING" not in environ
        and len(length) <= len(str(SMALL))
        and length.isdecimal()
        and int(length) <= SMALL
    )
