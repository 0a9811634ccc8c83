"""Installations for tests: each has its own database and folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from django.db import connection
from psycopg import sql

from tests.e2e.sites import ROOT, TIMEOUT_SECONDS


def connection_params() -> dict[str, Any]:
    """Return the connection parameters of the test server."""
    given = connection.get_connection_params()
    return {key: given[key] for key in ("host", "port", "user", "password") if given.get(key)}


class Installation:
    """An installation with its own database and folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.login = {**connection_params(), "dbname": name}
        user, host = quote(self.login["user"]), str(self.login["host"])
        if "password" in self.login:
            user += f":{quote(self.login['password'])}"
        # A path is the folder of a Unix socket.
        address = f"/{host}" if host.startswith("/") else f"{host}:{self.login['port']}"
        self.url = f"postgres://{user}@{address}/{name}"

    def manage(self, *words: str, fails: bool = False, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=os.environ
            | {"DATABASE_URL": self.url, "DATA_DIR": str(self.folder), "SECRET_KEY": ""}
            | {"ALLOWED_HOSTS": "testserver"}
            | environment,
            capture_output=True,
            text=True,
            timeout=3 * TIMEOUT_SECONDS,
            check=False,
        )
        assert bool(done.returncode) is fails, done.stderr
        return done.stderr if fails else done.stdout

    def sums(self) -> dict[str, str]:
        """Return a checksum of the rows of each table."""
        with psycopg.connect(**self.login) as database:
            tables = database.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
                " AND relnamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall()
            return {
                table: str(
                    database.execute(
                        sql.SQL(
                            "SELECT count(*), md5(coalesce(string_agg(row::text, E'\\n' ORDER BY"
                            " row::text), '')) FROM {} AS row"
                        ).format(sql.Identifier(*table.split(".")))
                    ).fetchone()
                )
                for (table,) in tables
            }


@contextmanager
def empty_installations(folder: Path, count: int) -> Iterator[list[Installation]]:
    """Create empty installations; remove them at the end."""
    names = [f"drill_{os.getpid()}_{number}" for number in range(count)]
    with psycopg.connect(**connection_params(), dbname="postgres", autocommit=True) as database:
        for name in names:
            database.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield [Installation(name, folder / name) for name in names]
        for name in names:
            drop = "DROP DATABASE {} WITH (FORCE)"
            database.execute(sql.SQL(drop).format(sql.Identifier(name)))
