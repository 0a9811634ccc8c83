"""Memory settings of the embedded PostgreSQL.

The default of shared_buffers is 128 MB on every machine. Charts over millions of readings would
then read the same pages from the disk repeatedly.
"""

from contextlib import suppress
from pathlib import Path

import psutil

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
MEGABYTE = 1024 * 1024
SHARE = 8
"""PostgreSQL gets an eighth of the memory, because the machine runs other programs, too. (On a
dedicated machine the manual recommends a quarter: "Resource Consumption", shared_buffers.)"""
MIN_MEGABYTES, MAX_MEGABYTES = 128, 1024
INCLUDE = "include_if_exists = 'machine.conf'"


def write_memory_config(folder: Path) -> None:
    """Write memory settings for this machine to a file that the server reads when it starts.

    Settings of ALTER SYSTEM override them.
    """
    size = available() // MEGABYTE
    shared = max(MIN_MEGABYTES, min(MAX_MEGABYTES, size // SHARE))
    lines = [f"shared_buffers = {shared}MB", f"effective_cache_size = {max(shared, size // 2)}MB"]
    # If the path of the folder is too long for a socket, the socket is below /tmp.
    lines.append("unix_socket_permissions = 0700")
    target = folder / "machine.conf"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # The server runs as another user if the site runs as root.
    target.chmod(0o644)
    configuration = folder / "postgresql.conf"
    text = configuration.read_text(encoding="utf-8")
    if INCLUDE not in text:
        configuration.write_text(f"{text.rstrip()}\n\n{INCLUDE}\n", encoding="utf-8")


def available(limit: Path = CGROUP_LIMIT) -> int:
    """Return the bytes of memory of this machine or container."""
    total: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):
        return min(total, int(limit.read_text(encoding="ascii")))
    return total
