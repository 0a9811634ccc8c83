"""The HTTP server: uvicorn, with limits for connections without a request.

uvicorn closes a connection that is idle after a response. It has no timeout for the head of a
request, nor for a client that does not read the response. This server closes such connections:
after some seconds, or, the oldest first, when the limit of connections is reached.
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

SPARE_CONNECTIONS = 500
"""Connections in addition to LIVE_CONNECTIONS: requests that are not authenticated yet, and idle
connections.
"""
OTHER_FILES = 100
"""Open files that are not connections of clients."""
HEAD_TIMEOUT_SECONDS = 10.0
"""How long a client may take to send the head of a request."""
UNREAD_TIMEOUT_SECONDS = 60.0
"""How long a client may not read the response: as long as the lease of a command."""
MAX_PIPELINED_BYTES = 64 * 1024
"""Bytes that a client may send before the response to its first request."""
SWEEP_TICKS = 10
"""Connections are checked every second; uvicorn calls `on_tick` ten times a second."""
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 15\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class Config(uvicorn.Config):
    """The options of uvicorn, and the connections without a request, the oldest first."""

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
        self.max_connections = raise_file_limit(settings.LIVE_CONNECTIONS + SPARE_CONNECTIONS)


class Server(uvicorn.Server):
    """Closes overdue connections. Responds to all pending requests before it shuts down."""

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
        self.live.stop()
        await super().shutdown(sockets)


class Connection(H11Protocol):
    """One connection of a client."""

    config: Config
    unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.config.max_connections and not self._close_oldest_idle():
            transport.write(FULL)
            transport.close()
        self._update_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.config.idle.pop(self, None)

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            # The head of the next request begins.
            self.config.idle.pop(self, None)
        super().data_received(data)
        if len(self.conn.trailing_data[0]) > MAX_PIPELINED_BYTES:
            self.transport.abort()
        self._update_idle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_idle()

    def is_overdue(self, now: float) -> bool:
        """Return whether the client is too slow to send the head of a request or to read."""
        if not (self.flow.write_paused or self.transport.is_closing()):
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > UNREAD_TIMEOUT_SECONDS:
            return True
        idle_since = self.config.idle.get(self, now)
        return self.timeout_keep_alive_task is None and now - idle_since > HEAD_TIMEOUT_SECONDS

    def _update_idle(self) -> None:
        """Update `config.idle`: add the connection unless a request is in progress."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.config.idle.pop(self, None)
        else:
            self.config.idle.setdefault(self, self.loop.time())

    def _close_oldest_idle(self) -> bool:
        oldest = next(iter(self.config.idle), None)
        if oldest is None:
            return False
        # Remove it here, so that it is not chosen again: `connection_lost` is called later.
        del self.config.idle[oldest]
        oldest.transport.abort()
        return True


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files of this process to `connections` and OTHER_FILES.

    Return how many connections the system allows, which may be fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(connections, soft - OTHER_FILES)
