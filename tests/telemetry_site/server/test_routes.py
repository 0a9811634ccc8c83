"""Every endpoint has a thread pool, and no endpoint can use all threads."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, get_resolver

from common.request_pools import PASSWORDS, TRANSFERS
from telemetry_site.server import routes
from telemetry_site.server.routes import BATCHES, DEVICES, OPERATIONS, POOLS, SITE

ANY = {
    "uuid": "00000000-0000-4000-8000-000000000000",
    "str": "a",
    "path": "a",
    "slug": "a",
    "int": "1",
}
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
HASHES = {
    "/account/address",
    "/account/delete",
    "/account/password",
    "/account/second-factor/recovery-codes",
    "/account/second-factor/set-up",
    "/account/second-factor/switch-off",
    "/admin/login",
    "/api/v1/auth/join",
    "/api/v1/auth/login",
    "/api/v1/auth/password",
    "/api/v1/auth/password-reset/confirm",
    "/api/v1/auth/register",
    "/api/v1/auth/verify-email",
    "/api/v1/users/me",
    "/join",
    "/password-reset/new",
    "/sign-in",
    "/sign-up",
    "/verify-email",
}
"""Endpoints that receive a password."""


def paths(patterns: Any = None, prefix: str = "/") -> Iterator[str]:
    """Yield a path for each route of the site."""
    for one in patterns if patterns is not None else get_resolver().url_patterns:
        path = prefix + str(one.pattern).lstrip("^").rstrip("$")
        for kind, value in ANY.items():
            while f"<{kind}:" in path:
                before, _, rest = path.partition(f"<{kind}:")
                path = before + value + rest.partition(">")[2]
        if isinstance(one, URLPattern):
            yield path
        else:
            yield from paths(one.url_patterns, path)


def find(path: str, method: str = "GET", **headers: str) -> routes.Route:
    return routes.find({"PATH_INFO": path, "REQUEST_METHOD": method, **headers})


def test_no_endpoint_and_no_client_can_use_all_threads():
    threads = sum(limits.threads for limits in POOLS.values())
    assert threads >= 2
    for limits in POOLS.values():
        assert limits.per_client <= limits.threads < threads
        assert limits.per_endpoint <= limits.threads
    # In pools with requests of several kinds, a thread is left for the others.
    for name in (DEVICES, SITE):
        assert max(POOLS[name].per_client, POOLS[name].per_endpoint) < POOLS[name].threads


@pytest.mark.parametrize("method", METHODS)
def test_every_endpoint_has_a_pool_and_only_devices_use_their_pools(method):
    found = {path: find(path, method) for path in paths()}
    assert len(found) > 100
    for path, route in found.items():
        is_of_devices = path.startswith("/api/v1/device/") or path.endswith("/telemetry")
        if route.pool in (DEVICES, BATCHES):
            assert is_of_devices, path
        if is_of_devices and path.startswith("/api/v1/device/"):
            assert route.pool in (DEVICES, BATCHES), path


def test_endpoints_that_hash_passwords_have_their_own_pool():
    found = {path for path in paths() if find(path, "POST").pool == PASSWORDS}
    assert {path.rstrip("/") for path in found if "/accounts/" not in path} == HASHES
    assert "/admin/accounts/user/add/" in found
    assert find("/sign-in", "GET").pool == SITE


def test_imports_and_exports_have_their_own_pool_and_body_limit(settings):
    device = f"/api/v1/devices/{ANY['uuid']}/telemetry"
    assert find(f"{device}/export").pool == find(f"{device}/import", "POST").pool == TRANSFERS
    assert find(f"{device}/import", "POST").body_limit == settings.IMPORT_LIMIT
    assert find(device, "POST").body_limit == settings.BODY_LIMIT


@pytest.mark.parametrize(
    ("headers", "pool"),
    [
        ({"CONTENT_LENGTH": "200"}, DEVICES),
        ({"CONTENT_LENGTH": str(routes.SMALL_BODY_BYTES)}, DEVICES),
        ({"CONTENT_LENGTH": str(routes.SMALL_BODY_BYTES + 1)}, BATCHES),
        ({"CONTENT_LENGTH": "9" * 5000}, BATCHES),
        ({"CONTENT_LENGTH": "many"}, BATCHES),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, BATCHES),
    ],
)
def test_single_readings_and_large_batches_have_separate_pools(headers, pool):
    assert find("/api/v1/device/telemetry", "POST", **headers).pool == pool


def test_probes_have_their_own_pool():
    assert {find(path).pool for path in ("/readyz", "/livez", "/metrics")} == {OPERATIONS}
