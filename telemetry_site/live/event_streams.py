"""Streams of events: who hears what."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from devices.events import Event

BACKLOG = 1000
"""Events that a stream keeps for a client that reads slowly; one more, and it is to ask anew."""
READY = b"event: ready\ndata: {}\n\n"
"""Whatever you know may be old: from here on you are told what happens."""
READY_A_SECOND = 100
"""How many streams are told `ready` in a second when all have missed something."""
LONGEST_DELAY = 15.0
"""Seconds within which all of them are, however many there are."""


class EventStream:
    """What one client has not been told yet; the same twice is told once."""

    def __init__(self, named: frozenset[UUID]) -> None:
        self._named = named
        self._untold: dict[bytes, None] = {READY: None}
        self.something = asyncio.Event()
        self.something.set()

    def hear(self, event: Event) -> None:
        if not self._named or event.device_id in self._named:
            self._add(as_text(event))

    def missed(self) -> None:
        """Some events were told to nobody."""
        self._untold.clear()
        self._add(READY)

    async def next(self, *, seconds: float) -> bytes:
        """What has happened, as soon as something has; nothing after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.something.wait()
        untold = b"".join(self._untold)
        self._untold.clear()
        self.something.clear()
        return untold

    def _add(self, text: bytes) -> None:
        if len(self._untold) >= BACKLOG:
            self._untold = {READY: None}
        self._untold[text] = None
        self.something.set()


class StreamRegistry:
    """All of them, by user."""

    def __init__(self) -> None:
        self._of: dict[UUID, list[EventStream]] = defaultdict(list)

    @contextmanager
    def opened(self, user_id: UUID, named: frozenset[UUID]) -> Iterator[EventStream]:
        """A new stream of the user, of the devices it names or of all."""
        stream = EventStream(named)
        self._of[user_id].append(stream)
        try:
            yield stream
        finally:
            self._of[user_id].remove(stream)
            if not self._of[user_id]:
                del self._of[user_id]

    def hear(self, event: Event) -> None:
        """Pass the event on to the streams of the user whom it names."""
        if event.user_id is not None:
            for stream in self._of.get(event.user_id, ()):
                stream.hear(event)

    def missed(self) -> None:
        """Tell every stream `ready` again, spread over some seconds: each client then asks the
        site for everything on its page.
        """
        streams = list(self._all())
        within = min(LONGEST_DELAY, len(streams) / READY_A_SECOND)
        for stream in streams:
            delay = random.uniform(0, within)  # noqa: S311 - no secret
            asyncio.get_running_loop().call_later(delay, stream.missed)

    def let_go(self) -> None:
        """Let every stream come to its end."""
        for stream in self._all():
            stream.something.set()

    def _all(self) -> Iterator[EventStream]:
        for streams in self._of.values():
            yield from streams


def as_text(event: Event) -> bytes:
    """One event of a stream (HTML standard, "Server-sent events")."""
    told = {"device_id": str(event.device_id)}
    if event.command_id:
        told["command_id"] = str(event.command_id)
    return f"event: {event.kind}\ndata: {json.dumps(told)}\n\n".encode()
