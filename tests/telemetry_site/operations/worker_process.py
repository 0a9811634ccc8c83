"""A real worker process on the test database, and its job table."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self
from urllib.parse import quote

from django.db import connection

from tests.e2e.sites import ROOT, process_environment

TIMEOUT_SECONDS = 120
"""Only a failing test waits this many seconds."""


class Worker:
    """`manage.py worker` with its own data folder; killed at the end if it still runs."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder / "worker.log"
        self.environment = (
            process_environment(measured=True)
            | {"DATABASE_URL": database_url(), "DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
            | settings
        )

    def __enter__(self) -> Self:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "worker"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        print(self.said)  # noqa: T201 - pytest shows it when the test failed

    @property
    def said(self) -> str:
        return self.log.read_text()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_SECONDS)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition is true; fail if the process ends before."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self.process.poll() is None, self.said
            assert monotonic() < deadline, self.said
            sleep(0.05)


def database_url() -> str:
    """Return the URL of the test database."""
    given = connection.get_connection_params()
    user, host = quote(given["user"]), str(given["host"])
    if given.get("password"):
        user += f":{quote(given['password'])}"
    # A path is the folder of a Unix socket.
    address = f"/{host}" if host.startswith("/") else f"{host}:{given['port']}"
    return f"postgres://{user}@{address}/{given['dbname']}"


def create_dead_worker() -> int:
    """Store a worker that sent its last heartbeat an hour ago, and return its id."""
    return int(
        query(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')"
            " RETURNING id"
        )[0][0]
    )


def add_job(task: Any, *, worker: int | None = None, attempts: int = 0, **args: Any) -> int:
    """Store a job of this task and return its id. Its status is "doing" if a worker is given."""
    return int(
        query(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args,"
            " status, worker_id, attempts)"
            " VALUES (%s, %s, %s, %s, %s::text::jsonb, %s::text::procrastinate_job_status, %s, %s)"
            " RETURNING id",
            task.queue,
            task.name,
            task.lock,
            task.queueing_lock,
            json.dumps(args),
            "todo" if worker is None else "doing",
            worker,
            attempts,
        )[0][0]
    )


def status_of(job: int) -> str:
    return str(query("SELECT status::text FROM procrastinate_jobs WHERE id = %s", job)[0][0])


def query(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def rollups_locked(lock: int) -> Iterator[None]:
    """Hold the advisory lock of the rollups on a separate connection."""
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [lock])
        yield
    finally:
        own.close()
