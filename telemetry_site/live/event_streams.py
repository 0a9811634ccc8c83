"""The open event streams and the events to send to each."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from devices.events import Event

MAX_PENDING_EVENTS = 1000
"""Events that a stream holds for a slow client. One more replaces them all by `ready`."""
READY = b"event: ready\ndata: {}\n\n"
"""Sent first and after each gap. The client then fetches the current data; events are complete from
here on.
"""
READY_PER_SECOND = 100
"""Streams that get `ready` per second after a gap that concerns all streams."""
MAX_READY_DELAY = 15.0
"""Maximum seconds until the last of these streams gets `ready`."""


class EventStream:
    """The events that are not sent to a client yet. Equal events are sent once."""

    def __init__(self, device_ids: frozenset[UUID]) -> None:
        self._device_ids = device_ids
        self._pending: dict[bytes, None] = {READY: None}
        self.ready = asyncio.Event()
        self.ready.set()

    def publish(self, event: Event) -> None:
        """Add the event, if the stream is for this device or for all devices."""
        if not self._device_ids or event.device_id in self._device_ids:
            self._add(as_text(event))

    def resync(self) -> None:
        """Replace the pending events by `ready`, because some events were lost."""
        self._pending.clear()
        self._add(READY)

    async def next(self, *, seconds: float) -> bytes:
        """Return the pending events as soon as there are some, or b"" after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ready.wait()
        events = b"".join(self._pending)
        self._pending.clear()
        self.ready.clear()
        return events

    def _add(self, text: bytes) -> None:
        if len(self._pending) >= MAX_PENDING_EVENTS:
            self._pending = {READY: None}
        self._pending[text] = None
        self.ready.set()


class StreamRegistry:
    """The open streams by user."""

    def __init__(self) -> None:
        self._by_user: dict[UUID, list[EventStream]] = defaultdict(list)

    @contextmanager
    def open(self, user_id: UUID, device_ids: frozenset[UUID]) -> Iterator[EventStream]:
        """Register a new stream of the user for these devices, or for all without any."""
        stream = EventStream(device_ids)
        self._by_user[user_id].append(stream)
        try:
            yield stream
        finally:
            self._by_user[user_id].remove(stream)
            if not self._by_user[user_id]:
                del self._by_user[user_id]

    def publish(self, event: Event) -> None:
        """Pass the event to the streams of the user that it names."""
        if event.user_id is not None:
            for stream in self._by_user.get(event.user_id, ()):
                stream.publish(event)

    def resync(self) -> None:
        """Send `ready` to all streams, spread over some seconds: each client then fetches all data
        of its page from the site.
        """
        streams = list(self._all())
        within = min(MAX_READY_DELAY, len(streams) / READY_PER_SECOND)
        for stream in streams:
            delay = random.uniform(0, within)  # noqa: S311 - no secret
            asyncio.get_running_loop().call_later(delay, stream.resync)

    def close_all(self) -> None:
        """Wake all streams, so that they end."""
        for stream in self._all():
            stream.ready.set()

    def _all(self) -> Iterator[EventStream]:
        for streams in self._by_user.values():
            yield from streams


def as_text(event: Event) -> bytes:
    """Return the event as text of a stream (HTML standard, "Server-sent events")."""
    data = {"device_id": str(event.device_id)}
    if event.command_id:
        data["command_id"] = str(event.command_id)
    return f"event: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()
