"""Files on their way to clients. The server sends them without a thread, however slow a client is;
what they hold is a connection and room on the disk.
"""

from collections import Counter
from collections.abc import Hashable
from threading import Lock

AT_ONCE = 64
"""Files that a process sends at a time."""
AT_ONCE_PER_CLIENT = 4


class TooManyDownloads(Exception):
    """The client, or all clients together, have not yet fetched enough of their files."""


class Downloads:
    """Counts files from when they begin to be sent until their connection ends."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.clients: Counter[Hashable] = Counter()

    def begin(self, client: Hashable) -> None:
        """Count one more. Raises TooManyDownloads."""
        with self.lock:
            if self.clients.total() >= AT_ONCE or self.clients[client] >= AT_ONCE_PER_CLIENT:
                raise TooManyDownloads
            self.clients[client] += 1

    def end(self, client: Hashable) -> None:
        """Count one less."""
        with self.lock:
            self.clients[client] -= 1
            if not self.clients[client]:
                del self.clients[client]
