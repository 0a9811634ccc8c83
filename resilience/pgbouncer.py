"""The whole suite through pgbouncer, which pools sessions."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from resilience.postgres15 import suite
from resilience.server import PostgreSQL
from tests.e2e.sites import TIMEOUT_SECONDS, free_port

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
user = {user}
pool_mode = session
ignore_startup_parameters = options, extra_float_digits
max_client_conn = 500
default_pool_size = 100
# A test database can be dropped only when no client is connected to it.
server_lifetime = 0
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""


def run() -> list[str]:
    """What pytest says of it."""
    if shutil.which("pgbouncer") is None:
        print("  (left out: apt-get install pgbouncer)")
        return []
    with PostgreSQL(max_connections="200") as server, pooled(server) as url:
        return suite(url)


@contextmanager
def pooled(server: PostgreSQL) -> Iterator[str]:
    """The address of a pgbouncer before this server."""
    port = free_port()
    path = server.folder / "pgbouncer.ini"
    path.write_text(
        CONFIGURATION.format(server=server.port, port=port, folder=server.folder, user="postgres")
    )
    command = server.as_user("pgbouncer", "-q", str(path))
    process = subprocess.Popen(
        command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while True:
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = server.folder / "pgbouncer.log"
                    raise RuntimeError(log.read_text() if log.exists() else "no log") from None
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)
