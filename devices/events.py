"""What happens to devices, told to whoever listens: with NOTIFY, on one channel.

An event is a hint. It says what to look at again, never what is to be seen there, and whoever may
have missed one looks again at everything. Commands are told of by the transaction that changed
them, so that none is missed. PostgreSQL commits such transactions one after the other, disk
included, which readings would not survive (docs/decisions/0026): of them a thread tells, together
and a moment later, and only of devices that somebody watches.
"""

import logging
import threading
from collections.abc import Collection
from functools import cache
from typing import NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db import Error, close_old_connections, connection, transaction

logger = logging.getLogger(__name__)

CHANNEL = "device_events"
KINDS = frozenset({"reading", "status", "command"})
WATCH_SECONDS = 180
"""How long a device is watched without another word; renewed when less than half is left."""
PAUSE = 0.25
"""Seconds between two tellings of readings."""


class NotAnEvent(ValueError):
    """A notification that is none of ours."""


class Event(NamedTuple):
    """What kind of thing has happened to which device, and to which of its commands."""

    kind: str
    device_id: UUID
    command_id: UUID | None = None

    def __str__(self) -> str:
        return " ".join(str(part) for part in self if part)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The event in a notification. Raises NotAnEvent."""
        kind, *ids = text.split(" ")
        if kind not in KINDS or len(ids) not in (1, 2):
            raise NotAnEvent(text)
        try:
            return cls(kind, *map(UUID, ids))
        except ValueError:
            raise NotAnEvent(text) from None


def tell(happened: Collection[Event]) -> None:
    """Have the transaction that is under way tell of this when it commits, if somebody watches."""
    with connection.cursor() as cursor:
        cursor.execute(
            TELL_WATCHED,
            {
                "channel": CHANNEL,
                "devices": [event.device_id for event in happened],
                "events": [str(event) for event in happened],
            },
        )


def watch(device_ids: Collection[UUID]) -> None:
    """Note that somebody looks at these devices, for WATCH_SECONDS from now."""
    with connection.cursor() as cursor:
        cursor.execute(WATCH, {"devices": sorted(device_ids), "seconds": WATCH_SECONDS})


def forget_watches() -> int:
    """Remove what nobody looks at any more, and count it."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM device_watches WHERE until < now()")
        return int(cursor.rowcount)


_starting = threading.Lock()


class Teller(threading.Thread):
    """Tells of what it is given to note: all of a moment together, from a connection of its own.

    What it cannot tell, because the database is away, it forgets.
    """

    def __init__(self) -> None:
        super().__init__(name="tells of readings", daemon=True)
        self._noted: set[Event] = set()
        self._something, self._stopping = threading.Event(), threading.Event()

    def note(self, event: Event) -> None:
        """Tell of this within PAUSE, if somebody watches."""
        self._noted.add(event)
        self._something.set()

    def run(self) -> None:
        while self._something.wait() and not self._stopping.is_set():
            self._something.clear()
            noted, self._noted = self._noted, set()
            try:
                close_old_connections()
                self._tell(noted)
            except Error as error:
                logger.warning("nobody was told of %d events: %s", len(noted), error)
                connection.close()
            self._stopping.wait(PAUSE)
        connection.close()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self._something.set()
        self.join()

    def _tell(self, noted: Collection[Event]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            # Nothing is lost with it but a hint, and nobody who commits waits for the disk's sake.
            cursor.execute("SET LOCAL synchronous_commit TO off")
            tell(noted)


@cache
def _teller() -> Teller:
    teller = Teller()
    teller.start()
    return teller


def note(*kinds: str, device_id: UUID) -> None:
    """Have it told, soon, that this has been committed; by a process that serves requests."""
    if settings.SERVES_REQUESTS:
        with _starting:
            teller = _teller()
        for kind in kinds:
            teller.note(Event(kind, device_id))


WATCH = """
    INSERT INTO device_watches AS known (device_id, until)
    SELECT id, now() + %(seconds)s * interval '1 second'
    FROM devices WHERE id = ANY (%(devices)s) ORDER BY id
    ON CONFLICT (device_id) DO UPDATE SET until = EXCLUDED.until
    WHERE known.until < now() + %(seconds)s * interval '0.5 second'
"""
TELL_WATCHED = """
    SELECT pg_notify(%(channel)s, event)
    FROM unnest(%(devices)s::uuid[], %(events)s::text[]) AS noted(device_id, event)
    JOIN device_watches USING (device_id) WHERE until > now()
"""
