"""Events of devices, sent to the live process with NOTIFY on one channel.

An event is a hint: it says what to fetch again, not the new value. A client that may have missed
events fetches everything again. The transaction that changes a command sends its event, so that
none is lost. PostgreSQL commits transactions with NOTIFY one after the other, including the write
to the disk, which is too slow for readings (docs/decisions/0026). A thread sends their events:
several in one transaction, a moment later, and only for devices whose owner watches. The
notification contains that user, so that the live process needs no list of their devices
(docs/decisions/0048).
"""

import logging
import threading
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from queue import Full, Queue
from typing import NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db import Error, close_old_connections, connection, transaction

logger = logging.getLogger(__name__)

CHANNEL = "device_events"
KINDS = frozenset({"reading", "status", "command"})
WATCH_SECONDS = 180
"""Duration of a user's watch. It is renewed when less than half is left."""
PUBLISH_INTERVAL = 0.25
"""Seconds between two transactions that publish events."""
MAX_QUEUED = 100_000
"""Events that wait for the next transaction."""


class InvalidEvent(ValueError):
    """The text of the notification is not an event."""


class Event(NamedTuple):
    """The kind of event, its device, its command if it has one, and the user who watches the
    device, if there is one.
    """

    kind: str
    device_id: UUID
    command_id: UUID | None = None
    user_id: UUID | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a notification, `kind device [command or -] [user]`. Raises InvalidEvent."""
        kind, *ids = text.split(" ")
        if kind not in KINDS or not 1 <= len(ids) <= 3 or ids[0] == "-":
            raise InvalidEvent(text)
        try:
            return cls(kind, *(None if text == "-" else UUID(text) for text in ids))  # type: ignore[arg-type]
        except ValueError:
            raise InvalidEvent(text) from None


def publish(events: Collection[Event]) -> None:
    """Send these events when the current transaction commits, each with the user who watches the
    device. Events of devices without such a user are not sent.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            NOTIFY_SQL,
            {
                "channel": CHANNEL,
                "devices": [event.device_id for event in events],
                "kinds": [event.kind for event in events],
            },
        )


def mark_watched(user_id: UUID) -> None:
    """Record that this user watches events, for WATCH_SECONDS from now.

    Writes no row and takes no lock while more than half of that is left.
    """
    with connection.cursor() as cursor:
        cursor.execute(WATCH_SQL, {"user": user_id, "seconds": WATCH_SECONDS})


def delete_expired_watches() -> int:
    """Delete expired watches and return their number."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM user_watches WHERE until < now()")
        return int(cursor.rowcount)


_start_lock = threading.Lock()


class EventPublisher(threading.Thread):
    """Publishes queued events, several in one transaction, on its own database connection.

    Events that cannot be published are dropped: they are hints, and the log has their number.
    """

    def __init__(self) -> None:
        super().__init__(name="event publisher", daemon=True)
        self._queue: Queue[Event | None] = Queue(MAX_QUEUED)
        self._stopping = threading.Event()

    def enqueue(self, event: Event) -> None:
        """Publish this event within PUBLISH_INTERVAL, if a user watches the device.

        It is dropped if MAX_QUEUED events wait for a database that does not respond.
        """
        with suppress(Full):
            self._queue.put_nowait(event)

    def run(self) -> None:
        while True:
            batch = self._next_batch()
            if self._stopping.is_set():
                break
            try:
                self._publish(batch)
            except Error as error:
                logger.warning("%d events were not published: %s", len(batch), error)
            except Exception:
                # The thread must not end, because nothing would publish events any more.
                logger.exception("%d events were not published", len(batch))
            self._stopping.wait(PUBLISH_INTERVAL)
        connection.close()

    def stop(self) -> None:
        """End the thread. Events in the queue are dropped."""
        self._stopping.set()
        self._queue.put(None)
        self.join()

    def _next_batch(self) -> set[Event]:
        """Wait for an event, and return it with all others in the queue."""
        batch = {self._queue.get()}
        batch.update(self._queue.get_nowait() for _ in range(self._queue.qsize()))
        return {event for event in batch if event}

    def _publish(self, batch: Collection[Event]) -> None:
        close_old_connections()
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                # A crash may lose only hints, and no commit waits for the disk.
                cursor.execute("SET LOCAL synchronous_commit TO off")
                publish(batch)
        except BaseException:
            connection.close()
            raise


@cache
def _publisher() -> EventPublisher:
    publisher = EventPublisher()
    publisher.start()
    return publisher


def publish_later(*kinds: str, device_id: UUID) -> None:
    """Publish events of a device soon, after their transaction has committed.

    Does nothing in processes that serve no requests.
    """
    if settings.IS_WEB_PROCESS:
        with _start_lock:
            publisher = _publisher()
        for kind in kinds:
            publisher.enqueue(Event(kind, device_id))


WATCH_SQL = """
    INSERT INTO user_watches (user_id, until)
    SELECT id, now() + %(seconds)s * interval '1 second'
    FROM users WHERE id = %(user)s AND NOT EXISTS (
        SELECT FROM user_watches
        WHERE user_id = %(user)s AND until > now() + %(seconds)s * interval '0.5 second')
    ON CONFLICT (user_id) DO UPDATE SET until = EXCLUDED.until
"""
NOTIFY_SQL = """
    SELECT pg_notify(%(channel)s, concat_ws(' ', kind, device_id, '-', user_id))
    FROM unnest(%(devices)s::uuid[], %(kinds)s::text[]) AS event(device_id, kind)
    JOIN watched_devices USING (device_id)
"""
