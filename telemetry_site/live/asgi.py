"""The ASGI application: `GET /api/v1/device/commands` and `GET /api/v1/events`, both at length."""

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

from commands.api import claim_limit, claim_wait
from common import client_ip
from common.metrics_store import counter
from devices.events import Event
from telemetry_site.api.problems import problem_response
from telemetry_site.live import requests, responses
from telemetry_site.live.connection_limits import Full, Places, TooMany
from telemetry_site.live.db_executor import DatabaseExecutor
from telemetry_site.live.event_streams import EventStream, StreamRegistry
from telemetry_site.live.long_polls import LongPollRegistry
from telemetry_site.live.pg_listener import listen
from telemetry_site.live.requests import Scope
from telemetry_site.live.responses import Send
from telemetry_site.middleware.http import PARAMETERS_LIMIT

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]

HEARTBEAT = 15.0
"""Seconds within which a stream says that it is still there, and whether it may be is looked up."""
POLL_THREADS = 4
STREAM_THREADS = 2
ROUTES = {"/api/v1/device/commands": "commands", "/api/v1/events": "events"}
RETRY = (2000, 5000)
"""Milliseconds after which a browser connects again; at random, so that not all do at once."""
NO_EVENTS = b":\n\n"
"""A comment."""
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    # nginx would keep what is sent until there is more of it.
    "X-Accel-Buffering": "no",
}


class ClientConnection:
    """Whoever is at the other end, as long as they are."""

    def __init__(self, receive: Receive, changed: asyncio.Event) -> None:
        self._leaving = asyncio.create_task(self._leave(receive, changed))

    def gone(self) -> bool:
        return self._leaving.done()

    def forget(self) -> None:
        self._leaving.cancel()

    async def _leave(self, receive: Receive, changed: asyncio.Event) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        changed.set()


class LiveApplication:
    """Everybody who waits."""

    def __init__(self) -> None:
        self.database = DatabaseExecutor("polls", threads=POLL_THREADS)
        self.database_of_streams = DatabaseExecutor("streams", threads=STREAM_THREADS)
        self.places = Places()
        self.waiters = LongPollRegistry()
        self.streams = StreamRegistry()
        self.ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    def end(self) -> None:
        """Answer everybody now; whoever wants more comes to the next process."""
        self.ending = True
        self.waiters.let_go()
        self.streams.let_go()

    async def _live(self, receive: Receive, send: Send) -> None:
        """Listen from the server's start to its end."""
        await receive()
        listening = asyncio.create_task(
            listen(self.database, hear=self._hear, missed=self._look_again)
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await asyncio.to_thread(self.database.close)
        await asyncio.to_thread(self.database_of_streams.close)
        await send({"type": "lifespan.shutdown.complete"})

    def _hear(self, event: Event) -> None:
        if event.kind == "command":
            self.waiters.wake(event.device_id)
        self.streams.hear(event)

    async def _look_again(self) -> None:
        """See to what happened while nobody listened."""
        self.streams.missed()
        waiting = await self.database.run(requests.devices_with_pending, self.waiters.ids())
        self.waiters.wake_all(waiting)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = requests.http_request(scope)
        headers: dict[str, str] = {}
        door = ROUTES.get(scope["path"].rstrip("/"), "none")
        send = _counted(send, door)
        try:
            if scope["query_string"].count(b"&") >= PARAMETERS_LIMIT:
                raise SuspiciousOperation("too many parameters in the address")
            headers = responses.headers_for(request)
            answer = self._door(door, scope["method"])
            with self.places.of_address(client_ip.get_client_ip(request)):
                await answer(scope, receive, send, headers)
        except SuspiciousOperation:
            await responses.send_response(send, problem_response(request, 400), headers)
        except (TooMany, Full) as error:
            # Without the connection the client costs nothing until it comes again.
            headers["Connection"] = "close"
            await responses.send_response(send, responses.error_response(request, error), headers)
        except Exception as error:
            await responses.send_response(send, responses.error_response(request, error), headers)

    def _door(self, door: str, method: str) -> Callable[..., Awaitable[None]]:
        doors = {"commands": self._commands, "events": self._events}
        if door not in doors:
            raise Http404
        if method != "GET":
            raise exceptions.MethodNotAllowed(method)
        return doors[door]

    async def _commands(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]
    ) -> None:
        """Claim what waits for the device, or what comes for it within `wait` seconds."""
        until = asyncio.get_running_loop().time() + _seconds(scope)
        asking, owner_id = await self.database.run(requests.authenticate_device, scope)
        with (
            self.places.of_user(owner_id),
            self.waiters.joined(asking.pk) as woken,
            counter.present(("live_waiting",)),
        ):
            with _connected(receive, woken) as client:
                claimed = await self.database.run(requests.claim_commands, scope, asking)
                while claimed is None and not self.ending:
                    try:
                        async with asyncio.timeout_at(until):
                            await woken.wait()
                    except TimeoutError:
                        break
                    if client.gone():
                        return
                    if woken.ended:
                        break
                    woken.clear()
                    claimed = await self.database.run(requests.claim_commands, scope, asking)
        response = HttpResponse(claimed or b"", "application/json", 200 if claimed else 204)
        await responses.send_response(send, response, headers)

    async def _events(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]
    ) -> None:
        """Tell of events until the client or its right to hear of them goes."""
        user_id, named = await self.database_of_streams.run(requests.subscription, scope)
        with (
            self.places.of_stream(user_id),
            self.streams.opened(user_id, named) as stream,
            counter.present(("live_streams",)),
            _connected(receive, stream.something) as client,
        ):
            await responses.send_start(send, 200, headers | STREAM_HEADERS)
            retry = random.randint(*RETRY)  # noqa: S311 - no secret
            await responses.send_body(send, f"retry: {retry}\n\n".encode())
            await self._tell(scope, send, stream, client)
            await responses.send_body(send, b"", more=False)

    async def _tell(
        self, scope: Scope, send: Send, stream: EventStream, client: ClientConnection
    ) -> None:
        now = asyncio.get_running_loop().time
        look = now() + _heartbeat()
        while not (client.gone() or self.ending):
            untold = await stream.next(seconds=max(0.0, look - now()))
            await responses.send_body(send, untold or NO_EVENTS)
            if now() < look:
                continue
            look = now() + _heartbeat()
            try:
                await self.database_of_streams.run(requests.subscription, scope)
            except OperationalError:
                # While the database is away nothing is told either.
                continue
            except (exceptions.APIException, ObjectDoesNotExist):
                # The token, the session or a device is no more; who comes again hears why.
                return


@contextmanager
def _connected(receive: Receive, changed: asyncio.Event) -> Iterator[ClientConnection]:
    """The client; `changed` is set when it goes."""
    client = ClientConnection(receive, changed)
    try:
        yield client
    finally:
        client.forget()


def _counted(send: Send, door: str) -> Send:
    """The same, noting what is answered."""

    async def counting(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            counter.add(("live_answers", door, str(message["status"])))
        await send(message)

    return counting


def _heartbeat() -> float:
    """Seconds to the next one; at random, so that streams that began together do not stay so."""
    return HEARTBEAT * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


def _seconds(scope: Scope) -> float:
    """How long to wait. Raises ValidationError, for `limit` too."""
    query = requests.http_request(scope).GET
    claim_limit(query)
    return claim_wait(query)
