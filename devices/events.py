"""What happens to devices, told to whoever listens: with NOTIFY, on one channel.

An event is a hint. It says what to look at again, never what is to be seen there, and whoever may
have missed one looks again at everything. Commands are told of by the transaction that changed
them, so that none is missed. PostgreSQL commits such transactions one after the other, disk
included, which readings would not survive (docs/decisions/0026): of them a thread tells, together
and a moment later, and only of devices whose owner listens. The notification names that user, so
that the live process needs no list of their devices (docs/decisions/0048).
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
"""How long the watch of a user lasts; it is renewed when less than half is left."""
PUBLISH_INTERVAL = 0.25
"""Seconds between two tellings of readings."""


class InvalidEvent(ValueError):
    """A notification that is none of ours."""


class Event(NamedTuple):
    """What kind of thing has happened to which device, and to which of its commands; and the user
    who watches the device, if there is one.
    """

    kind: str
    device_id: UUID
    command_id: UUID | None = None
    user_id: UUID | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The event in a notification, `kind device [command or -] [user]`. Raises NotAnEvent."""
        kind, *ids = text.split(" ")
        if kind not in KINDS or not 1 <= len(ids) <= 3 or ids[0] == "-":
            raise InvalidEvent(text)
        try:
            return cls(kind, *(None if one == "-" else UUID(one) for one in ids))  # type: ignore[arg-type]
        except ValueError:
            raise InvalidEvent(text) from None


def publish(happened: Collection[Event]) -> None:
    """Have the transaction that is under way notify of these events of devices when it commits,
    each with the user who watches the device. Events of devices that nobody watches are left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            NOTIFY_SQL,
            {
                "channel": CHANNEL,
                "devices": [event.device_id for event in happened],
                "kinds": [event.kind for event in happened],
            },
        )


def mark_watched(user_id: UUID) -> None:
    """Note that this user listens to events, for WATCH_SECONDS from now.

    Writes nothing and locks nothing while more than half of that is left.
    """
    with connection.cursor() as cursor:
        cursor.execute(WATCH, {"user": user_id, "seconds": WATCH_SECONDS})


def delete_expired_watches() -> int:
    """Remove the watches that have ended, and count them."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM user_watches WHERE until < now()")
        return int(cursor.rowcount)


_starting = threading.Lock()


class EventPublisher(threading.Thread):
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
            self._stopping.wait(PUBLISH_INTERVAL)
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
            publish(noted)


@cache
def _publisher() -> EventPublisher:
    teller = EventPublisher()
    teller.start()
    return teller


def publish_later(*kinds: str, device_id: UUID) -> None:
    """Have it told, soon, that this has been committed; by a process that serves requests."""
    if settings.IS_WEB_PROCESS:
        with _starting:
            teller = _publisher()
        for kind in kinds:
            teller.note(Event(kind, device_id))


WATCH = """
    INSERT INTO user_watches (user_id, until)
    SELECT id, now() + %(seconds)s * interval '1 second'
    FROM users WHERE id = %(user)s AND NOT EXISTS (
        SELECT FROM user_watches
        WHERE user_id = %(user)s AND until > now() + %(seconds)s * interval '0.5 second')
    ON CONFLICT (user_id) DO UPDATE SET until = EXCLUDED.until
"""
NOTIFY_SQL = """
    SELECT pg_notify(%(channel)s, concat_ws(' ', kind, device_id, '-', user_id))
    FROM unnest(%(devices)s::uuid[], %(kinds)s::text[]) AS noted(device_id, kind)
    JOIN watched_devices USING (device_id)
"""
