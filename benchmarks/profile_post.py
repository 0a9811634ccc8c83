"""Where a request spends its time: `python -m benchmarks.profile_post`.

Calls Django's handler in this process, without a web server, with single readings and
then with batches of 1,000. For each it prints the time of a request by the clock, the processor
time of this process and of its PostgreSQL backend, and of the former the share of each layer as
the profiler sees it, which slows Python down: its shares count, not its seconds. What is left of
the clock is the commit's wait for the disk.
"""

import cProfile
import os
import pstats
import sys
import time
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import django
import psutil
from django.core.handlers.wsgi import WSGIHandler

from benchmarks import bodies, cast, database
from benchmarks.client import Refused
from benchmarks.paths import ROOT

APPS = ("accounts", "commands", "devices", "telemetry", "telemetry_site")
PACKAGES = ("rest_framework", "django", "psycopg", "msgspec", "whitenoise")
SHOWN = 25
"""How many of the functions that take longest are listed."""


def main() -> None:
    database.prepare(database.EMPTY)
    told = cast.assemble(database.EMPTY)
    os.environ.update(database.environment(database.EMPTY))
    os.environ["IS_WEB_PROCESS"] = "true"
    django.setup()
    application = WSGIHandler()

    with database.connect(database.EMPTY) as connection:
        for size, number in ((1, 2_000), (1_000, 60)):
            database.forget_readings(connection)
            sent = bodies.batches(size, 2 * number, devices=len(told.devices), start=bodies.now())
            requests = [
                # A single reading is sent as itself, not as a list of one.
                environ(batch.body[1:-1] if size == 1 else batch.body, told.tokens[batch.device])
                for batch in sent
            ]
            describe(f"POST of {size:,}", application, requests[:number], requests[number:])


def environ(body: bytes, token: str) -> dict[str, Any]:
    """A POST as granian hands it over."""
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/device/telemetry",
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def describe(
    name: str, application: Any, plain: Sequence[dict[str, Any]], profiled: Sequence[dict[str, Any]]
) -> None:
    """Time the first requests as they are, and profile the others."""
    # The first request loads what the others find loaded.
    answer(application, plain[0])
    before = spent()
    for request in plain[1:]:
        answer(application, request)
    each = [
        (after - at) / (len(plain) - 1) * 1e6 for at, after in zip(before, spent(), strict=True)
    ]
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for request in profiled:
        answer(application, request)
    profile.disable()
    sys.stdout.write(
        "\n{}: {:,.0f} µs; this process {:,.0f}, its backend {:,.0f}\n".format(name, *each)
    )
    for layer, share in shares(pstats.Stats(profile)):
        sys.stdout.write(f"  {share:6.1%}  {layer}\n")
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(SHOWN)


def spent() -> tuple[float, float, float]:
    """Seconds by the clock, of this process, of the backend that it is connected to."""
    from django.db import connection

    connection.ensure_connection()
    backend = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    return time.perf_counter(), time.process_time(), backend.user + backend.system


def answer(application: Any, request: dict[str, Any]) -> None:
    """Raises Refused unless the request is answered 2xx."""
    statuses = []
    result = application(request, lambda status, headers: statuses.append(status))
    for _ in result:
        pass
    result.close()
    if not statuses[0].startswith("2"):
        raise Refused(statuses[0])


def shares(stats: pstats.Stats) -> list[tuple[str, float]]:
    """The part of the time spent in each layer's own code, the largest first."""
    found: Counter[str] = Counter()
    for (file, _, function), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        found[layer(file, function)] += own
    total = sum(found.values())
    return [(name, own / total) for name, own in found.most_common()]


def layer(file: str, function: str) -> str:
    """The layer that a function belongs to; what is built into Python goes by its module."""
    for package in PACKAGES:
        if f"/site-packages/{package}" in file or package in function:
            return package
    path = Path(file)
    if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in APPS:
        return path.relative_to(ROOT).parts[0]
    return "Python"


if __name__ == "__main__":
    main()
