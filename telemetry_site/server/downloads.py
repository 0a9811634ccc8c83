"""Files on their way to clients. The server sends them without a thread, however slow a client is;
what they hold is a connection, open files and room on the disk.
"""

import os
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import suppress
from threading import Lock
from typing import IO, NamedTuple

from django.http import HttpResponseBase

AT_ONCE = 64
"""Files that a process sends at a time."""
AT_ONCE_PER_CLIENT = 8
OPENED_WITHIN = 10.0
"""Seconds in which the server opens a file, however busy it is."""

Inode = tuple[int, int]


class TooManyDownloads(Exception):
    """The client, or all clients together, have not yet fetched enough of their files."""


class Download(NamedTuple):
    """A file that is being sent. It stays open until the server has closed it, too."""

    client: Hashable
    response: HttpResponseBase
    inode: Inode
    begun: float


class Downloads:
    """The downloads of a process.

    granian does not say when it has sent a file: `client_disconnect` never comes after a response
    has begun. But while it sends one, it has the file open.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.running: list[Download] = []

    def begin(self, client: Hashable, response: HttpResponseBase, file: IO[bytes]) -> None:
        """Count one more, and close its response when it has ended. Raises TooManyDownloads."""
        with self.lock:
            mine = sum(one.client == client for one in self.running)
            if len(self.running) >= AT_ONCE or mine >= AT_ONCE_PER_CLIENT:
                raise TooManyDownloads
            inode = _inode(file.fileno())
            self.running.append(Download(client, response, inode, time.monotonic()))

    def end_finished(self) -> None:
        """End those whose file the server has closed.

        Of several downloads of one file the oldest ones are taken for those that have ended.
        """
        with self.lock:
            if not self.running:
                return
            opened = Counter(_open_inodes())
            for inode, mine in Counter(one.inode for one in self.running).items():
                # Each of ours has the file open once, and once more while it is being sent.
                self._end_oldest(inode, number=2 * mine - opened[inode])

    def end_all(self) -> None:
        """End all, at the end of the process."""
        with self.lock:
            for one in self.running:
                one.response.close()
            self.running.clear()

    def _end_oldest(self, inode: Inode, *, number: int) -> None:
        due = time.monotonic() - OPENED_WITHIN
        old = [one for one in self.running if one.inode == inode and one.begun <= due]
        for one in old[: max(0, number)]:
            self.running.remove(one)
            one.response.close()


def _open_inodes() -> Iterator[Inode]:
    """What this process has open."""
    for name in os.listdir("/dev/fd"):
        # One of them is the folder itself, closed by now.
        with suppress(OSError):
            yield _inode(int(name))


def _inode(descriptor: int) -> Inode:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
