"""The thread pool and the body limit of each request."""

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
    # Readings and commands of devices. They must never wait for other requests.
    DEVICES: Limits(
        3, per_client=1, per_endpoint=2, timeout=5.0, max_pending_per_client=1000, rests=False
    ),
    # A large body of readings takes as long as a thousand small ones.
    BATCHES: Limits(threads=2, per_client=1, per_endpoint=2, timeout=5.0),
    # Pages, the API and the admin.
    SITE: Limits(threads=3, per_client=2, per_endpoint=2, timeout=5.0),
    # A password hash uses all cores for a moment; a file uses a thread for many seconds.
    PASSWORDS: Limits(
        1, per_client=1, per_endpoint=1, timeout=0.9, max_pending_per_client=10, max_rest=0.3
    ),
    TRANSFERS: Limits(
        threads=3, per_client=1, per_endpoint=2, timeout=0.9, max_pending_per_client=10
    ),
    # Probes and metrics, which are requested seldom.
    OPERATIONS: Limits(threads=1, per_client=1, per_endpoint=1, timeout=5.0),
}
"""The pools of each process. Each thread has a connection to the database."""

INGEST = "/telemetry"
SMALL_BODY_BYTES = 32 * 1024
"""Bytes of a body of readings that takes no longer to process than other requests."""
MAX_BODIES = {DEVICES: 2000, TRANSFERS: 3}
"""How many bodies of maximum size a process receives at a time; 32 for other pools."""
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def body_budget_bytes(pool: str) -> int:
    """Return how many bytes of bodies a pool receives at a time.

    Each pool has its own budget, so that large bodies never use that of readings.
    """
    largest = {DEVICES: SMALL_BODY_BYTES, TRANSFERS: settings.IMPORT_LIMIT}.get(
        pool, settings.BODY_LIMIT
    )
    return MAX_BODIES.get(pool, 32) * int(largest)


class Route(NamedTuple):
    """The pool and the limits of a request."""

    endpoint: str
    """Equal for all requests to a view."""
    pool: str
    body_limit: int
    is_write: bool = False
    """Whether it may change data other than readings."""


def find(environ: Environ) -> Route:
    """Return the route of a request, also of one without a view."""
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if not path.startswith("/admin/"):
        path = path.rstrip("/") or "/"
    if path.startswith(DEVICE_API) or (method == "POST" and path.endswith(INGEST)):
        return Route(path[:64], DEVICES if _is_small(environ) else BATCHES, settings.BODY_LIMIT)
    if path in health.PATHS or path == metrics.PATH:
        return Route(path, OPERATIONS, settings.BODY_LIMIT)
    return _route_of_view(path, method)


def _route_of_view(path: str, method: str) -> Route:
    try:
        match = resolve(path)
    except Resolver404:
        return Route("", SITE, settings.BODY_LIMIT)
    view: Any = match.func
    # The class of a DRF or Django view, the model admin, or the view function itself.
    view = getattr(view, "cls", None) or getattr(view, "model_admin", None) or view
    pool = getattr(view, "request_pool", SITE)
    if pool == PASSWORDS and method in SAFE_METHODS:
        pool = SITE
    limit = getattr(settings, getattr(view, "body_limit_setting", "BODY_LIMIT"))
    return Route(match.route, pool, limit, is_write=method not in SAFE_METHODS)


def _is_small(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH") or "0"
    return (
        "HTTP_TRANSFER_ENCODING" not in environ
        and len(length) <= len(str(SMALL_BODY_BYTES))
        and length.isdecimal()
        and int(length) <= SMALL_BODY_BYTES
    )
