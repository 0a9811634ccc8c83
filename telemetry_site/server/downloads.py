"""Downloads in progress. The server sends the files without a thread, also to slow clients. Each
download needs a connection, open files and disk space.
"""

import os
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import suppress
from threading import Lock
from typing import IO, NamedTuple

from django.http import HttpResponseBase

MAX_CONCURRENT = 64
"""Downloads of a process at a time."""
MAX_CONCURRENT_PER_CLIENT = 8
OPEN_TIMEOUT_SECONDS = 10.0
"""Seconds after which the server has opened the file, even under load."""

Inode = tuple[int, int]


class TooManyDownloads(Exception):
    """The client, or the process, has reached its limit of downloads in progress."""


class Download(NamedTuple):
    """A file that is being sent. It stays open here until the server has closed it."""

    client: Hashable
    response: HttpResponseBase
    inode: Inode
    started: float


class Downloads:
    """The downloads of a process.

    granian does not report the end of a download: `client_disconnect` never completes after the
    start of a response. But granian has the file open as long as it sends it.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.running: list[Download] = []

    def add(self, client: Hashable, response: HttpResponseBase, file: IO[bytes]) -> None:
        """Add a download. Its response is closed at its end. Raises TooManyDownloads."""
        with self.lock:
            of_client = sum(download.client == client for download in self.running)
            if len(self.running) >= MAX_CONCURRENT or of_client >= MAX_CONCURRENT_PER_CLIENT:
                raise TooManyDownloads
            inode = _inode(file.fileno())
            self.running.append(Download(client, response, inode, time.monotonic()))

    def end_finished(self) -> None:
        """Remove the downloads whose file the server has closed.

        With several downloads of one file, the oldest ones are removed.
        """
        with self.lock:
            if not self.running:
                return
            opened = Counter(_open_inodes())
            for inode, count in Counter(download.inode for download in self.running).items():
                # Each download has the file open once, and granian once more while it sends it.
                self._end_oldest(inode, number=2 * count - opened[inode])

    def end_all(self) -> None:
        """Close all responses at the end of the process."""
        with self.lock:
            for download in self.running:
                download.response.close()
            self.running.clear()

    def _end_oldest(self, inode: Inode, *, number: int) -> None:
        latest = time.monotonic() - OPEN_TIMEOUT_SECONDS
        old = [each for each in self.running if each.inode == inode and each.started <= latest]
        for download in old[: max(0, number)]:
            self.running.remove(download)
            download.response.close()


def _open_inodes() -> Iterator[Inode]:
    """Yield the inode of each open file of this process, once per file descriptor."""
    for name in os.listdir("/dev/fd"):
        # One descriptor was that of the directory itself; it is closed by now.
        with suppress(OSError):
            yield _inode(int(name))


def _inode(descriptor: int) -> Inode:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
