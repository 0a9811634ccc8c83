"""The HTTP server: uvicorn, with limits to connections that do nothing.

uvicorn closes a connection that is idle after an answer. It waits without end for the head of a
request, and for a client that does not read what was sent to it, and counts such connections like
those of devices that wait. Here they are closed: after some seconds, or, the oldest first, when
there are as many connections as there may be.
"""

import asyncio
import resource
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from django.conf import settings
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from telemetry_site.live.asgi import LiveApplication

SPARE = 500
"""Connections beside those that wait: of requests that are not authenticated yet, and idle ones."""
OTHER_FILES = 100
"""Open files that are not connections of clients."""
HEAD_SECONDS = 10.0
"""How long a client may take to send the head of a request."""
UNREAD_SECONDS = 60.0
"""How long a client may leave unread what was sent: as long as a command is leased to it."""
AHEAD_LIMIT = 64 * 1024
"""Bytes that a client may send before its request is answered."""
SWEEP_TICKS = 10
"""Connections are looked at each second; uvicorn ticks ten times as often."""
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 15\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class Config(uvicorn.Config):
    """How the live process serves, and its connections without a request, the oldest first."""

    def __init__(self, live: "LiveApplication", **options: Any) -> None:
        super().__init__(
            live,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=4096,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            **options,
        )
        self.idle: dict[Connection, float] = {}
        self.most = allow_connections(settings.LIVE_CONNECTIONS + SPARE)


class Server(uvicorn.Server):
    """Closes connections that do nothing, and answers everybody before the end."""

    def __init__(self, live: "LiveApplication", **options: Any) -> None:
        super().__init__(Config(live, **options))
        self.live = live

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection) and connection.is_overdue(now):
                    connection.transport.abort()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.live.end()
        await super().shutdown(sockets)


class Connection(H11Protocol):
    """One connection of a client."""

    config: Config
    unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.config.most and not self._close_oldest_idle():
            transport.write(FULL)
            transport.close()
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.config.idle.pop(self, None)

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            # The head of the next request begins.
            self.config.idle.pop(self, None)
        super().data_received(data)
        if len(self.conn.trailing_data[0]) > AHEAD_LIMIT:
            self.transport.abort()
        self._note()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note()

    def is_overdue(self, now: float) -> bool:
        """Whether it has waited too long for its client to send a head, or to read."""
        if not (self.flow.write_paused or self.transport.is_closing()):
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > UNREAD_SECONDS:
            return True
        idle_since = self.config.idle.get(self, now)
        return self.timeout_keep_alive_task is None and now - idle_since > HEAD_SECONDS

    def _note(self) -> None:
        """Note whether a request is in progress."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.config.idle.pop(self, None)
        else:
            self.config.idle.setdefault(self, self.loop.time())

    def _close_oldest_idle(self) -> bool:
        oldest = next(iter(self.config.idle), None)
        if oldest is None:
            return False
        # Once only: it is told that it is lost a moment later.
        del self.config.idle[oldest]
        oldest.transport.abort()
        return True


def allow_connections(number: int) -> int:
    """Allow this process as many open files as that many connections need, and some more.

    Returns how many connections the system lets it have, which may be fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(number, soft - OTHER_FILES)
