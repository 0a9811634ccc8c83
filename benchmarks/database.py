"""The one PostgreSQL of all rounds: the embedded one, with two databases of the same tables.

In `empty` the peers are compared, and it is emptied before every round. The other is loaded once
(stored.py) and kept. Nothing of the server's configuration is changed.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import psycopg
from psycopg import sql

from benchmarks.paths import FOLDER, ROOT
from common.db.embedded.server import running_server

EMPTY = "empty"

Connection = psycopg.Connection[tuple[Any, ...]]


def address() -> dict[str, str]:
    """Host (a socket's folder), port and user of the server, which is started if need be."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = running_server(FOLDER)
    info = server.get_postmaster_info()
    return {
        "host": str(info.socket_dir or info.hostname),
        "port": str(info.port),
        "user": server.postgres_user,
    }


def url(name: str) -> str:
    """The address of a database as DATABASE_URL, libpq, asyncpg and pgx all read it."""
    where = address()
    query = urlencode({"host": where["host"], "port": where["port"]})
    return f"postgres://{where['user']}@/{name}?{query}"


def connect(name: str) -> Connection:
    """A connection that commits each statement, as the site's do."""
    return psycopg.connect(url(name), autocommit=True)


def prepare(name: str) -> None:
    """Make the database where it is missing and bring its tables up to date."""
    with connect("postgres") as connection:
        known = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [name]
        ).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    manage("migrate", "--verbosity=0", database=name)


def environment(name: str) -> dict[str, str]:
    """Return the environment of a process that uses this database."""
    return os.environ | {
        "DATABASE_URL": url(name),
        "DATA_DIR": str(FOLDER / name),
        "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
    }


def manage(*arguments: str, database: str) -> None:
    """Run a `manage.py` command on a database."""
    command = [sys.executable, "manage.py", *arguments]
    subprocess.run(command, cwd=ROOT, env=environment(database), check=True)


def count(connection: Connection, devices: Sequence[UUID]) -> int:
    """How many readings of these devices are stored."""
    query = "SELECT count(*) FROM telemetry WHERE device_id = ANY (%s)"
    found = connection.execute(query, [list(devices)]).fetchone()
    assert found
    return int(found[0])


def forget_readings(connection: Connection) -> None:
    """Empty the table, and write out what earlier rounds have left to be written later."""
    connection.execute("TRUNCATE telemetry")
    connection.execute("CHECKPOINT")
