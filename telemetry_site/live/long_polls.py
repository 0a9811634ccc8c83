"""The open long polls of devices."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

MAX_POLLS_PER_DEVICE = 4
"""One more ends the oldest poll: its client may be gone without closing the connection."""


class Poll(asyncio.Event):
    """Set when a command may be pending for the device, or when the poll must end."""

    ended = False

    def end(self) -> None:
        self.ended = True
        self.set()


class LongPollRegistry:
    """The long polls of each device; the newest poll last."""

    def __init__(self) -> None:
        self._by_device: dict[UUID, list[Poll]] = defaultdict(list)

    @contextmanager
    def register(self, device_id: UUID) -> Iterator[Poll]:
        """Register a new poll of the device. End the oldest ones over MAX_POLLS_PER_DEVICE."""
        poll = Poll()
        self._by_device[device_id].append(poll)
        for oldest in self._by_device[device_id][:-MAX_POLLS_PER_DEVICE]:
            oldest.end()
        try:
            yield poll
        finally:
            self._by_device[device_id].remove(poll)
            if not self._by_device[device_id]:
                del self._by_device[device_id]
            elif poll.is_set():
                # Its client disconnected before it claimed the command: wake another poll.
                self.wake(device_id)

    def wake(self, device_id: UUID) -> None:
        """Wake the newest poll of the device: clients of older ones may be gone."""
        if device_id in self._by_device:
            self._by_device[device_id][-1].set()

    def release_all(self) -> None:
        """Wake all polls for a last time, at the end of the process."""
        for polls in self._by_device.values():
            for poll in polls:
                poll.set()

    def wake_all(self, device_ids: Collection[UUID]) -> None:
        for device_id in device_ids:
            self.wake(device_id)

    def device_ids(self) -> list[UUID]:
        """Return the devices with an open poll."""
        return list(self._by_device)

    def __len__(self) -> int:
        return sum(map(len, self._by_device.values()))
