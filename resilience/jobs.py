"""Whether every kind of job goes on after its worker was killed."""

import time
from collections.abc import Callable

import psycopg

from resilience.server import PostgreSQL
from resilience.site import Client, Site
from tests.mail import Inbox

PATIENCE = 120.0
"""Seconds that each kind has. A job that lost its worker is retried within 45."""
DEVICE = 5
"""The number in the site's cast of a device that is deleted and purged; no other test uses it."""
LATE = "UPDATE telemetry_rolled_until SET hour = date_trunc('hour', now()) - interval '4 hours'"
STALLED = """
    SELECT job.task_name FROM procrastinate_jobs AS job
    LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
    WHERE job.status = 'doing'
        AND coalesce(worker.last_heartbeat, '-infinity') < now() - interval '30 seconds'
"""


def prepare(server: PostgreSQL, site: Site) -> None:
    """Give the worker a kind of work that takes a while: hours to roll up, a device to purge."""
    with server.connect() as connection:
        connection.execute("UPDATE users SET email_verified_at = now() WHERE username = 'owner'")
        connection.execute(LATE)
        connection.execute(
            "INSERT INTO telemetry"
            " (device_id, recorded_at, id, telemetry_type, payload, created_at)"
            " SELECT %s, now() + number * interval '1 millisecond', gen_random_uuid(), 'much',"
            """ '{"n": 1}', now() FROM generate_series(1, 200000) AS number""",
            [site.cast["ids"][DEVICE]],
        )
        connection.execute(
            "INSERT INTO telemetry_dirty SELECT %s, date_trunc('hour', now())"
            " - number * interval '1 hour' FROM generate_series(1, 50000) AS number",
            [site.cast["ids"][DEVICE]],
        )
    client = Client(site.port, site.cast["owner"])
    client.post("/api/v1/users/me/archive", {})
    client.close()


def wait_for_work(server: PostgreSQL, seconds: float = 12) -> None:
    """Return as soon as a job with a lock is running, or after so many seconds."""
    deadline = time.monotonic() + seconds
    running = "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing' AND lock IS NOT NULL"
    try:
        with server.connect() as connection:
            while time.monotonic() < deadline and not connection.execute(running).fetchall():
                time.sleep(0.002)
    except psycopg.Error:
        return


def faults(server: PostgreSQL, site: Site, inbox: Inbox) -> list[str]:
    """Ask for work of each kind, and say which kind is not done."""
    owner = Client(site.port, site.cast["owner"])
    device = site.cast["ids"][DEVICE]
    with server.connect() as connection:
        connection.execute(LATE)
    owner.post("/api/v1/users/me/archive", {})
    owner.ask("DELETE", f"/api/v1/devices/{device}")
    Client(site.port).post("/api/v1/auth/password-reset", {"email": "owner@example.org"})
    rolled = "SELECT 1 FROM telemetry_rolled_until WHERE hour > now() - interval '2 hours'"

    def archived() -> bool:
        return b'"ready"' in owner.get("/api/v1/users/me/archive").body

    kinds: dict[str, Callable[[], bool]] = {
        "a mail is not sent": lambda: bool(inbox.to("owner@example.org")),
        "hours are not rolled up": lambda: bool(server.ask(rolled)),
        "an archive is not made": archived,
        "a device is not purged": lambda: (
            not server.ask("SELECT 1 FROM devices WHERE id = %s", device)
        ),
        "jobs of killed workers are left": lambda: not server.ask(STALLED),
    }
    found = []
    for fault, done in kinds.items():
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                found.append(fault)
                break
            site.revive()
            time.sleep(0.2)
    jobs = server.ask("SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1 ORDER BY 1")
    print(f"  jobs: {dict(jobs)}", flush=True)
    return found
