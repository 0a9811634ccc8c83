"""How much memory the embedded PostgreSQL may take of the machine it is on.

As it comes it keeps 128 MB of its tables at hand, whatever the machine has; charts over millions
of readings then wait for the rest to be brought in again and again.
"""

from contextlib import suppress
from pathlib import Path

import psutil

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
MEGABYTE = 1024 * 1024
SHARE = 8
"""One part in so many: the machine has other things to do. (A machine that is PostgreSQL's alone
gives it a quarter: PostgreSQL, "Resource Consumption", shared_buffers.)"""
LEAST, MOST = 128, 1024
"""Megabytes."""
INCLUDE = "include_if_exists = 'machine.conf'"


def write_memory_config(folder: Path) -> None:
    """Write what fits this machine where the server of this folder reads it when it starts.

    What an administrator sets by ALTER SYSTEM goes before it.
    """
    size = available() // MEGABYTE
    shared = max(LEAST, min(MOST, size // SHARE))
    lines = [f"shared_buffers = {shared}MB", f"effective_cache_size = {max(shared, size // 2)}MB"]
    # Where the name of the folder is too long for a socket, the socket lies below /tmp.
    lines.append("unix_socket_permissions = 0700")
    target = folder / "machine.conf"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # The server is another user, where the site runs as root.
    target.chmod(0o644)
    configuration = folder / "postgresql.conf"
    text = configuration.read_text(encoding="utf-8")
    if INCLUDE not in text:
        configuration.write_text(f"{text.rstrip()}\n\n{INCLUDE}\n", encoding="utf-8")


def available(limit: Path = CGROUP_LIMIT) -> int:
    """Bytes of memory that this machine has, or the container that it is."""
    total: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):
        return min(total, int(limit.read_text(encoding="ascii")))
    return total
