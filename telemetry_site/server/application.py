"""The RSGI application: receives a request, processes it in a thread, sends the response."""

import asyncio
import time
from collections.abc import Hashable
from typing import IO

from django.http import HttpResponseBase
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope

from common.request_pools import record_device_request
from telemetry_site.server import django_handler, refusals, routes
from telemetry_site.server.clients import Clients, TooManyRequests
from telemetry_site.server.downloads import Downloads, TooManyDownloads
from telemetry_site.server.environ import Environ, make_environ, set_body
from telemetry_site.server.request_body import (
    BodyBudget,
    BodyTooSlow,
    TooManyBodies,
    TooManyChunks,
    bytes_to_receive,
    receive,
)
from telemetry_site.server.thread_pools import Pool, PoolBusy

CHECK_INTERVAL_SECONDS = 2.0
"""Seconds between two checks for finished downloads."""


class Application:
    """Called by the web server for each request of its process."""

    def __init__(self) -> None:
        self.handler = django_handler.Handler()
        self.clients = Clients()
        self.pools = {name: Pool(name, limits) for name, limits in routes.POOLS.items()}
        self.body_budgets = {
            name: BodyBudget(routes.body_budget_bytes(name)) for name in routes.POOLS
        }
        self.downloads = Downloads()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Process one request and send its response."""
        started = time.perf_counter()
        environ = make_environ(scope)
        if "unreadable_headers" in environ:
            refusals.send_unreadable(protocol, environ, started=started)
            return
        client = self.clients.identify(environ)
        try:
            self.clients.count(client)
            await self._respond(environ, client, protocol)
        except (PoolBusy, TooManyBodies, TooManyDownloads):
            refusals.send_busy(protocol, environ, started=started)
        except TooManyRequests as error:
            refusals.send_too_many(protocol, environ, error.retry_after, started=started)
        except BodyTooSlow:
            refusals.send_too_slow(protocol, environ, started=started)
        except TooManyChunks:
            refusals.send_too_many_chunks(protocol, environ, started=started)
        except OSError:
            refusals.send_disk_full(protocol, environ, started=started)
        except ProtocolClosed:
            refusals.send_incomplete(protocol, environ, started=started)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the regular check for finished downloads."""
        loop.call_later(CHECK_INTERVAL_SECONDS, self._check_downloads, loop)

    def _check_downloads(self, loop: asyncio.AbstractEventLoop) -> None:
        self.downloads.end_finished()
        loop.call_later(CHECK_INTERVAL_SECONDS, self._check_downloads, loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the threads at the end of the process."""
        self.shutdown()

    def shutdown(self) -> None:
        """Finish the requests in progress, then end all threads and downloads."""
        for pool in self.pools.values():
            pool.shutdown()
        self.downloads.end_all()

    async def _respond(self, environ: Environ, client: Hashable, protocol: HTTPProtocol) -> None:
        route = routes.find(environ)
        if route.is_write:
            self.clients.count_write(client)
        request = _Request(self, environ, protocol)
        pool, length = self.pools[route.pool], bytes_to_receive(environ, route.body_limit)
        if not length:
            await pool.run(request.respond, client=client, endpoint=route.endpoint)
            return
        with self.body_budgets[route.pool].reserve(length, client):
            chunked = "HTTP_TRANSFER_ENCODING" in environ
            with await receive(protocol, length, chunked=chunked) as body:
                set_body(environ, body, limit=length)
                await pool.run(request.respond, client=client, endpoint=route.endpoint)


class _Request:
    """One request with its complete body."""

    def __init__(
        self,
        application: Application,
        environ: Environ,
        protocol: HTTPProtocol,
    ) -> None:
        self.application, self.environ, self.protocol = application, environ, protocol

    def respond(self) -> None:
        """Process the request with Django and send the response. Called in a thread.

        Raises TooManyDownloads.
        """
        request, response = self.application.handler.respond(self.environ)
        if self.application.clients.remember_client(self.environ, request, response.status_code):
            record_device_request()
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
        # Identify the client again: the request may have just authenticated its token.
        client = self.application.clients.identify(self.environ)
        try:
            self.application.downloads.add(client, response, file)
        except TooManyDownloads:
            response.close()
            raise
        # If this raises, the next checks find the file closed and remove the download.
        django_handler.send_file(self.protocol, response, file)
