"""The ASGI application: long polls (`GET /api/v1/device/commands`) and event streams
(`GET /api/v1/events`).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions

from commands.api import parse_limit, parse_wait
from common import client_ip
from common.metrics_store import counter
from devices.events import Event
from telemetry_site.api.problems import problem_response
from telemetry_site.live import requests, responses
from telemetry_site.live.connection_limits import ConnectionLimits, ServerFull, TooManyConnections
from telemetry_site.live.db_executor import DatabaseExecutor
from telemetry_site.live.event_streams import EventStream, StreamRegistry
from telemetry_site.live.long_polls import LongPollRegistry
from telemetry_site.live.pg_listener import listen
from telemetry_site.live.requests import Scope
from telemetry_site.live.responses import Send
from telemetry_site.middleware.http import MAX_QUERY_PARAMETERS

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]

HEARTBEAT_SECONDS = 15.0
"""Maximum seconds between two heartbeats of a stream; at each one access is checked again."""
POLL_THREADS = 4
STREAM_THREADS = 2
ROUTES = {"/api/v1/device/commands": "commands", "/api/v1/events": "events"}
RETRY_MILLISECONDS = (2000, 5000)
"""Milliseconds after which a browser reconnects. Random, so that browsers do not all reconnect at
the same time.
"""
HEARTBEAT_COMMENT = b":\n\n"
"""A comment (HTML standard, "Server-sent events"): clients ignore it."""
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    # Without this, nginx buffers the events.
    "X-Accel-Buffering": "no",
}


class ClientConnection:
    """Watches for the disconnect of a client, and sets `wake_up` when it happens."""

    def __init__(self, receive: Receive, wake_up: asyncio.Event) -> None:
        self._watcher = asyncio.create_task(self._watch(receive, wake_up))

    def disconnected(self) -> bool:
        return self._watcher.done()

    def stop_watching(self) -> None:
        self._watcher.cancel()

    async def _watch(self, receive: Receive, wake_up: asyncio.Event) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        wake_up.set()


class LiveApplication:
    """Serves the long polls and event streams."""

    def __init__(self) -> None:
        self.database = DatabaseExecutor("polls", threads=POLL_THREADS)
        self.stream_database = DatabaseExecutor("streams", threads=STREAM_THREADS)
        self.limits = ConnectionLimits()
        self.polls = LongPollRegistry()
        self.streams = StreamRegistry()
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)

    def stop(self) -> None:
        """End all long polls and streams now. Clients reconnect to the next process."""
        self.stopping = True
        self.polls.release_all()
        self.streams.close_all()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Listen for notifications from the start of the server to its end."""
        await receive()
        listening = asyncio.create_task(
            listen(self.database, on_event=self._on_event, on_reconnect=self._on_reconnect)
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await asyncio.to_thread(self.database.close)
        await asyncio.to_thread(self.stream_database.close)
        await send({"type": "lifespan.shutdown.complete"})

    def _on_event(self, event: Event) -> None:
        if event.kind == "command":
            self.polls.wake(event.device_id)
        self.streams.publish(event)

    async def _on_reconnect(self) -> None:
        """Make up for the notifications that were lost without a connection."""
        self.streams.resync()
        device_ids = self.polls.device_ids()
        with_pending = await self.database.run(requests.devices_with_pending, device_ids)
        self.polls.wake_all(with_pending)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = requests.http_request(scope)
        headers: dict[str, str] = {}
        route = ROUTES.get(scope["path"].rstrip("/"), "none")
        send = _counted(send, route)
        try:
            if scope["query_string"].count(b"&") >= MAX_QUERY_PARAMETERS:
                raise SuspiciousOperation("too many query parameters")
            headers = responses.headers_for(request)
            handler = self._handler(route, scope["method"])
            with self.limits.for_ip_address(client_ip.get_client_ip(request)):
                await handler(scope, receive, send, headers)
        except SuspiciousOperation:
            await responses.send_response(send, problem_response(request, 400), headers)
        except (TooManyConnections, ServerFull) as error:
            # Close the connection, so that the client uses no resources until it retries.
            headers["Connection"] = "close"
            await responses.send_response(send, responses.error_response(request, error), headers)
        except Exception as error:
            await responses.send_response(send, responses.error_response(request, error), headers)

    def _handler(self, route: str, method: str) -> Callable[..., Awaitable[None]]:
        handlers = {"commands": self._commands, "events": self._events}
        if route not in handlers:
            raise Http404
        if method != "GET":
            raise exceptions.MethodNotAllowed(method)
        return handlers[route]

    async def _commands(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]
    ) -> None:
        """Claim the pending commands of the device. Without any, wait up to `wait` seconds."""
        deadline = asyncio.get_running_loop().time() + _wait_seconds(scope)
        device, owner_id = await self.database.run(requests.authenticate_device, scope)
        with (
            self.limits.for_user(owner_id),
            self.polls.register(device.pk) as poll,
            counter.track_gauge(("live_waiting",)),
        ):
            with _connected(receive, poll) as client:
                claimed = await self.database.run(requests.claim_commands, scope, device)
                while claimed is None and not self.stopping:
                    try:
                        async with asyncio.timeout_at(deadline):
                            await poll.wait()
                    except TimeoutError:
                        break
                    if client.disconnected():
                        return
                    if poll.ended:
                        break
                    poll.clear()
                    claimed = await self.database.run(requests.claim_commands, scope, device)
        response = HttpResponse(claimed or b"", "application/json", 200 if claimed else 204)
        await responses.send_response(send, response, headers)

    async def _events(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]
    ) -> None:
        """Send events until the client disconnects or loses access."""
        user_id, device_ids = await self.stream_database.run(requests.subscription, scope)
        with (
            self.limits.for_stream(user_id),
            self.streams.open(user_id, device_ids) as stream,
            counter.track_gauge(("live_streams",)),
            _connected(receive, stream.ready) as client,
        ):
            await responses.send_start(send, 200, headers | STREAM_HEADERS)
            retry = random.randint(*RETRY_MILLISECONDS)  # noqa: S311 - no secret
            await responses.send_body(send, f"retry: {retry}\n\n".encode())
            await self._stream_events(scope, send, stream, client)
            await responses.send_body(send, b"", more=False)

    async def _stream_events(
        self, scope: Scope, send: Send, stream: EventStream, client: ClientConnection
    ) -> None:
        now = asyncio.get_running_loop().time
        next_heartbeat = now() + _heartbeat()
        while not (client.disconnected() or self.stopping):
            events = await stream.next(seconds=max(0.0, next_heartbeat - now()))
            await responses.send_body(send, events or HEARTBEAT_COMMENT)
            if now() < next_heartbeat:
                continue
            next_heartbeat = now() + _heartbeat()
            try:
                await self.stream_database.run(requests.subscription, scope)
            except OperationalError:
                # Without the database access cannot be checked, but there are no events either.
                continue
            except (exceptions.APIException, ObjectDoesNotExist):
                # The token, the session or a device no longer exists. When the client reconnects,
                # the response says so.
                return


@contextmanager
def _connected(receive: Receive, wake_up: asyncio.Event) -> Iterator[ClientConnection]:
    """Watch the client while the block runs; its disconnect sets `wake_up`."""
    client = ClientConnection(receive, wake_up)
    try:
        yield client
    finally:
        client.stop_watching()


def _counted(send: Send, route: str) -> Send:
    """Return `send` with a counter of responses by route and status."""

    async def send_and_count(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            counter.add(("live_answers", route, str(message["status"])))
        await send(message)

    return send_and_count


def _heartbeat() -> float:
    """Return the seconds to the next heartbeat. Random, so that streams that were opened together
    do not all query the database at the same time.
    """
    return HEARTBEAT_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


def _wait_seconds(scope: Scope) -> float:
    """Return `wait` of the query. Raises ValidationError, for `limit` too."""
    query = requests.http_request(scope).GET
    parse_limit(query)
    return parse_wait(query)
