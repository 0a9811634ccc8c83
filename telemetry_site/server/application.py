"""The RSGI application: receives a request, has a thread work on it, sends the response."""

import asyncio
import time
from collections.abc import Hashable
from typing import IO

from django.http import HttpResponseBase
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope

from common.request_pools import note_device
from telemetry_site.server import django_handler, refusals, routes
from telemetry_site.server.clients import Clients, TooManyRequests
from telemetry_site.server.downloads import Downloads, TooManyDownloads
from telemetry_site.server.environ import Environ, make_environ, set_body
from telemetry_site.server.request_body import (
    BodyTooSlow,
    Receiver,
    TooManyBodies,
    TooManyPieces,
    length_of,
    receive,
)
from telemetry_site.server.thread_pools import Pool, PoolBusy

LOOKED_AT_EVERY = 2.0
"""Seconds between two looks at which downloads have ended."""


class Application:
    """What a process of the web server calls for each request."""

    def __init__(self) -> None:
        self.handler = django_handler.Handler()
        self.clients = Clients()
        self.pools = {name: Pool(name, limits) for name, limits in routes.POOLS.items()}
        self.receivers = {name: Receiver(routes.bodies_of(name)) for name in routes.POOLS}
        self.downloads = Downloads()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        started = time.perf_counter()
        environ = make_environ(scope)
        if "unreadable_headers" in environ:
            refusals.send_unreadable(protocol, environ, started=started)
            return
        client = self.clients.of(environ)
        try:
            self.clients.count(client)
            await self._answer(environ, client, protocol)
        except (PoolBusy, TooManyBodies, TooManyDownloads):
            refusals.send_busy(protocol, environ, started=started)
        except TooManyRequests as error:
            refusals.send_too_many(protocol, environ, error.retry_after, started=started)
        except BodyTooSlow:
            refusals.send_too_slow(protocol, environ, started=started)
        except TooManyPieces:
            refusals.send_in_pieces(protocol, environ, started=started)
        except OSError:
            refusals.send_disk_full(protocol, environ, started=started)
        except ProtocolClosed:
            refusals.send_incomplete(protocol, environ, started=started)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look at which downloads have ended."""
        loop.call_later(LOOKED_AT_EVERY, self._look_at_downloads, loop)

    def _look_at_downloads(self, loop: asyncio.AbstractEventLoop) -> None:
        self.downloads.end_finished()
        loop.call_later(LOOKED_AT_EVERY, self._look_at_downloads, loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the threads, at the end of the process."""
        self.shutdown()

    def shutdown(self) -> None:
        """Return when all threads have ended what they were doing."""
        for pool in self.pools.values():
            pool.shutdown()
        self.downloads.end_all()

    async def _answer(self, environ: Environ, client: Hashable, protocol: HTTPProtocol) -> None:
        route = routes.find(environ)
        if route.is_write:
            self.clients.count_write(client)
        request = _Request(self, environ, protocol)
        pool, length = self.pools[route.pool], length_of(environ, route.body_limit)
        if not length:
            await pool.run(request.answer, client=client, endpoint=route.endpoint)
            return
        with self.receivers[route.pool].room(length, client):
            chunked = "HTTP_TRANSFER_ENCODING" in environ
            with await receive(protocol, length, chunked=chunked) as body:
                set_body(environ, body, most=length)
                await pool.run(request.answer, client=client, endpoint=route.endpoint)


class _Request:
    """One request, from when its body is there until its response is sent."""

    def __init__(
        self,
        application: Application,
        environ: Environ,
        protocol: HTTPProtocol,
    ) -> None:
        self.application, self.environ, self.protocol = application, environ, protocol

    def answer(self) -> None:
        """Have Django answer it; in a thread. Raises TooManyDownloads."""
        request, response = self.application.handler.respond(self.environ)
        if self.application.clients.learn(self.environ, request, response.status_code):
            note_device()
        file = django_handler.large_file(response)
        if request.method == "HEAD":
            django_handler.send_head(self.protocol, response)
        elif file is not None:
            self._send_file(response, file)
            return
        else:
            django_handler.send(self.protocol, response)
        response.close()

    def _send_file(self, response: HttpResponseBase, file: IO[bytes]) -> None:
        # Whose token it is may have become known only now.
        client = self.application.clients.of(self.environ)
        try:
            self.application.downloads.begin(client, response, file)
        except TooManyDownloads:
            response.close()
            raise
        # Its place is given back when the file is seen closed, also if this should fail.
        django_handler.send_file(self.protocol, response, file)
