"""Migrations of a large table while devices use it: no client waits longer than a second."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Self

from resilience.commands import Commands
from resilience.server import PostgreSQL
from resilience.site import Answer, Client, Site
from resilience.stream import Stream

ROWS = int(os.environ.get("ROWS", "1000000"))
LONGEST = 1.0
"""Maximum seconds that a client waits for a lock or for a response."""
EXPORT = 5.0
"""Seconds for which a transaction reads the table."""
FILL = """
    INSERT INTO commands SELECT another.* FROM commands AS known, generate_series(1, %s) AS n,
        LATERAL jsonb_populate_record(
            known,
            jsonb_build_object('id', gen_random_uuid(), 'device_id', (%s::text[])[1 + n %% 8])
        ) AS another
    WHERE known.id = %s
"""
WAITING = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0) FROM pg_locks
    WHERE NOT granted AND locktype <> 'virtualxid'
"""
"""CREATE INDEX CONCURRENTLY waits for older transactions (virtualxid), without blocking clients."""
SETTINGS = """
from telemetry_site.settings import *
INSTALLED_APPS += ["fire_app"]
"""
NEW_COLUMN = """
from django.db import migrations

class Migration(migrations.Migration):
    operations = [
        migrations.RunSQL(
            "ALTER TABLE commands ADD COLUMN fire integer", "ALTER TABLE commands DROP COLUMN fire"
        ),
    ]
"""
"""It needs the table for itself, if only for a moment."""


def run() -> list[str]:
    """An index and a column, away and there again, while a transaction reads for EXPORT seconds."""
    with PostgreSQL() as server, Site(server.url, others=["worker"]) as site:
        fill(server, site)
        install_app(site)
        site.manage("migrate", "fire_app")
        faults = []
        migrations = [("commands", "0004"), ("commands",), ("fire_app", "zero"), ("fire_app",)]
        for device, words in enumerate(migrations):
            faults += migrated(server, site, device, *words)
        if server.ask("SELECT FROM pg_index WHERE NOT indisvalid"):
            faults.append("an index is not valid")
        if "Traceback" in (log := site.log.read_text()):
            faults.append(f"a traceback in the log: {log[log.index('Traceback') :][:3000]}")
        return faults


def migrated(server: PostgreSQL, site: Site, device: int, *words: str) -> list[str]:
    """One migration, and what others noticed of it."""
    with (
        Stream(site.port, site.cast["devices"][device], kind="_".join(words)) as readings,
        Commands(site, device=device, pause=0.05, patience=1) as commands,
        Reading(site) as reading,
        Locks(server) as locks,
    ):
        readings.wait_for(50)
        started = time.monotonic()
        with export(server):
            site.manage("migrate", *words, "--verbosity=0")
        took = time.monotonic() - started
        readings.wait_for(50)
    print(
        f"  migrate {' '.join(words)}: {took:.1f} s, slowest reading {readings.slowest:.2f} s,"
        f" command {commands.slowest:.2f} s, list {reading.slowest:.2f} s,"
        f" lock {locks.longest:.2f} s",
        flush=True,
    )
    slowest = max(readings.slowest, commands.slowest, reading.slowest, locks.longest)
    faults = readings.odd() + commands.faults(server) + reading.odd
    if slowest > LONGEST:
        faults.append(f"{slowest:.1f} s")
    return [f"migrate {' '.join(words)}: {fault}" for fault in faults]


def fill(server: PostgreSQL, site: Site) -> None:
    """ROWS commands that are done, of all devices."""
    with Commands(site, device=5, patience=1) as commands:
        while not commands.issued:
            time.sleep(0.01)
    with server.connect() as connection:
        # No client is notified of them.
        connection.execute("SET session_replication_role = replica")
        connection.execute(FILL, [ROWS, site.cast["ids"], next(iter(commands.issued))])
        connection.execute("ANALYZE commands")


def install_app(site: Site) -> None:
    """One with a migration that adds a column, for manage.py alone."""
    folder = Path(site.folder.name)
    (folder / "fire_settings.py").write_text(SETTINGS)
    migrations = folder / "fire_app" / "migrations"
    migrations.mkdir(parents=True)
    for package in (migrations, migrations.parent):
        (package / "__init__.py").touch()
    (migrations / "0001_column.py").write_text(NEW_COLUMN)
    site.environment |= {"DJANGO_SETTINGS_MODULE": "fire_settings", "PYTHONPATH": str(folder)}


@contextmanager
def export(server: PostgreSQL) -> Iterator[None]:
    """Read the table in a transaction for EXPORT seconds."""
    connection = server.connect()
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    connection.execute("SELECT FROM commands LIMIT 1")
    ending = threading.Timer(EXPORT, connection.close)
    ending.start()
    yield
    ending.join()


class Locks:
    """Return the longest observed wait for a lock."""

    def __init__(self, server: PostgreSQL) -> None:
        self.connection = server.connect()
        self.longest = 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()
        self.connection.close()

    def _look(self) -> None:
        while not self.stopping.wait(0.02):
            (row,) = self.connection.execute(WAITING).fetchall()
            self.longest = max(self.longest, float(row[0]))


class Reading:
    """Request the lists of devices and commands repeatedly."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers: list[Answer] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()

    @property
    def slowest(self) -> float:
        return max(one.seconds for one in self.answers)

    @property
    def odd(self) -> list[str]:
        return sorted({f"a list: {a.status}" for a in self.answers if a.status not in (200, 503)})

    def _look(self) -> None:
        client = Client(self.site.port, self.site.cast["owner"])
        device = self.site.cast["ids"][5]
        for path in cycle((f"/api/v1/devices/{device}/commands", "/api/v1/devices")):
            self.answers.append(client.get(path))
            if self.stopping.wait(0.02):
                return
