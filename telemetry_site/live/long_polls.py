"""Devices that wait for a command."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

POLLS_PER_DEVICE = 4
"""One more ends the oldest: its client may be gone without a word."""


class Poll(asyncio.Event):
    """Set when there may be something for the device, or when the poll is to end."""

    ended = False

    def end(self) -> None:
        self.ended = True
        self.set()


class LongPollRegistry:
    """The long polls of each device; the newest poll last."""

    def __init__(self) -> None:
        self._of: dict[UUID, list[Poll]] = defaultdict(list)

    @contextmanager
    def joined(self, device_id: UUID) -> Iterator[Poll]:
        """A new poll of the device; of more than POLLS_PER_DEVICE the oldest is ended."""
        event = Poll()
        self._of[device_id].append(event)
        for oldest in self._of[device_id][:-POLLS_PER_DEVICE]:
            oldest.end()
        try:
            yield event
        finally:
            self._of[device_id].remove(event)
            if not self._of[device_id]:
                del self._of[device_id]
            elif event.is_set():
                # Its client went away before it looked.
                self.wake(device_id)

    def wake(self, device_id: UUID) -> None:
        """Let the newest poll of the device look: an older one's client may be long gone."""
        if device_id in self._of:
            self._of[device_id][-1].set()

    def let_go(self) -> None:
        """Let every poll look; there will not be another chance."""
        for events in self._of.values():
            for event in events:
                event.set()

    def wake_all(self, device_ids: Collection[UUID]) -> None:
        for device_id in device_ids:
            self.wake(device_id)

    def ids(self) -> list[UUID]:
        """The devices that wait."""
        return list(self._of)

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))
