"""A PostgreSQL of one's own, to be stopped, killed and starved."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg

from common.db.embedded.server import PROGRAMS
from tests.e2e.sites import free_port

WHEEL = PROGRAMS
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
USER = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
"""PostgreSQL does not run as root."""


class PostgreSQL:
    """Of these programs, in a new folder; `settings` as in postgresql.conf."""

    def __init__(self, programs: Path = WHEEL, *, folder: Path | None = None, **settings: str):
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="fire-pg-", dir=folder))
        self.data = self.folder / "main"
        self.port = free_port()
        self.settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "64MB",
            **settings,
        }

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)
        self.folder.chmod(0o755)
        command = ["initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command[0] = str(self.programs / command[0])
        subprocess.run(self.as_user(*command), check=True, capture_output=True, cwd="/")
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in self.settings.items())
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """As a child of this process, so that it is buried when it has been killed."""
        command = self.as_user(str(self.programs / "postgres"), "-D", str(self.data))
        deadline = time.monotonic() + 30
        while True:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
            while self.process.poll() is None:
                if time.monotonic() > deadline:
                    raise RuntimeError(self.log()[-2000:])
                try:
                    return self.connect().close()
                except psycopg.OperationalError:
                    time.sleep(0.02)
            if time.monotonic() > deadline:
                raise RuntimeError(self.log()[-2000:])
            # What the one before had started is still at work.
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """SIGQUIT ends it at once, SIGINT ends all connections first."""
        self.process.send_signal(number)
        self.process.wait(30)

    def kill(self) -> None:
        """kill -9 of the postmaster; what it has started notices by itself."""
        self.process.kill()
        self.process.wait(30)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def connect(self, **how: Any) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=how.pop("dbname", "postgres"),
            autocommit=True,
            **how,
        )

    def ask(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query, arguments).fetchall()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def as_user(self, *command: str) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
