"""Events of devices: their text, their publication, and the users who watch them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from queue import Queue
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.models import User
from devices import events
from devices import services as device_services
from devices.events import Event
from devices.models import Device, Watch
from tests.factories import DeviceFactory, UserFactory, create_devices
from tests.telemetry_site.plans import count_reads

# The same in every process of the tests.
DEVICE, COMMAND, USER = (UUID(int=number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (f"reading {DEVICE} - {USER}", Event("reading", DEVICE, None, USER)),
        (f"command {DEVICE} {COMMAND} {USER}", Event("command", DEVICE, COMMAND, USER)),
        # A new command of a device without watchers.
        (f"command {DEVICE} {COMMAND}", Event("command", DEVICE, COMMAND)),
    ],
)
def test_an_event_names_its_device_its_command_and_the_user_who_watches(text, event) -> None:
    assert Event.parse(text) == event


@pytest.mark.parametrize(
    "text",
    [
        *("", "reading", "reading x", f"tea {DEVICE}", "a b c d", f"reading - {DEVICE}"),
        f"command {DEVICE} {COMMAND} {USER} {USER}",
    ],
)
def test_what_is_no_event_is_refused(text) -> None:
    with pytest.raises(events.InvalidEvent):
        Event.parse(text)


def test_a_process_that_serves_no_requests_publishes_nothing(monkeypatch) -> None:
    monkeypatch.setattr(events, "_publisher", lambda: pytest.fail("a thread was started"))
    events.publish_later("reading", device_id=uuid4())


@pytest.fixture
def publisher(monkeypatch, transactional_db) -> Iterator[events.EventPublisher]:
    monkeypatch.setattr(events, "PUBLISH_INTERVAL", 0)
    publisher = events.EventPublisher()
    publisher.start()
    yield publisher
    publisher.stop()


def published_after(publisher: events.EventPublisher, published: Queue[set[Event]]) -> set[Event]:
    """The events of the first transaction that succeeds, of one event that is queued now."""
    publisher.enqueue(Event("reading", DEVICE))
    return published.get(timeout=120)


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (OperationalError("the database is not available"), "WARNING"),
        (RuntimeError("a mistake in the code"), "ERROR"),
    ],
)
def test_the_publisher_logs_any_error_and_publishes_later_events(
    failure, level, publisher, monkeypatch, caplog
) -> None:
    failed, published = threading.Event(), Queue[set[Event]]()

    def fail(batch: set[Event]) -> None:
        failed.set()
        raise failure

    monkeypatch.setattr(events, "publish", fail)
    publisher.enqueue(Event("status", DEVICE))
    assert failed.wait(120)
    monkeypatch.setattr(events, "publish", published.put)
    assert published_after(publisher, published) == {Event("reading", DEVICE)}
    (record,) = caplog.records
    assert (record.levelname, bool(record.exc_info)) == (level, level == "ERROR")
    assert record.getMessage().startswith("1 events were not published")


def test_a_failed_statement_leaves_a_connection_that_publishes_again(
    publisher, monkeypatch, caplog
) -> None:
    published = Queue[set[Event]]()
    with monkeypatch.context() as patch:
        patch.setattr(events, "NOTIFY_SQL", "SELECT 1 / 0")
        publisher.enqueue(Event("status", DEVICE))
        while not caplog.records:
            assert publisher.is_alive()
    monkeypatch.setattr(events, "publish", published.put)
    assert published_after(publisher, published) == {Event("reading", DEVICE)}


def test_events_of_a_moment_are_published_together_and_once(publisher, monkeypatch) -> None:
    begun, may_end, published = threading.Event(), threading.Event(), Queue[set[Event]]()

    def publish(batch: set[Event]) -> None:
        begun.set()
        assert may_end.wait(120)
        published.put(batch)

    monkeypatch.setattr(events, "publish", publish)
    publisher.enqueue(Event("status", COMMAND))
    assert begun.wait(120)
    for kind in ("reading", "status", "reading"):
        publisher.enqueue(Event(kind, DEVICE))
    may_end.set()
    assert published.get(timeout=120) == {Event("status", COMMAND)}
    assert published.get(timeout=120) == {Event("reading", DEVICE), Event("status", DEVICE)}


def test_a_full_queue_drops_events_and_blocks_no_request(monkeypatch) -> None:
    monkeypatch.setattr(events, "MAX_QUEUED", 1)
    publisher = events.EventPublisher()
    for _ in range(3):
        publisher.enqueue(Event("reading", uuid4()))
    assert publisher._queue.qsize() == 1


def watchers(*devices: Device) -> set[tuple[UUID, UUID]]:
    """The device and the user of each event that would be sent."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT device_id, user_id FROM watched_devices")
        ids = {device.pk for device in devices}
        return {row for row in cursor.fetchall() if row[0] in ids}


@pytest.mark.django_db
class TestWatching:
    def test_events_of_a_device_are_for_the_user_who_may_see_it(self, owner, device) -> None:
        other = UserFactory.create()
        theirs, gone = DeviceFactory.create(user=other), DeviceFactory.create(user=owner)
        device_services.soft_delete(gone, now=timezone.now())
        events.mark_watched(owner.pk)
        assert watchers(device, theirs, gone) == {(device.pk, owner.pk)}
        visible = Device.objects.visible_to(owner).values_list("pk", flat=True)
        assert {pk for pk, _ in watchers(device, theirs, gone)} == set(visible)

    def test_they_follow_the_device_to_another_owner(self, owner, device) -> None:
        other = UserFactory.create()
        events.mark_watched(owner.pk)
        events.mark_watched(other.pk)
        Device.objects.update(user=other)
        assert watchers(device) == {(device.pk, other.pk)}

    def test_they_are_for_nobody_when_the_watch_is_over(self, owner, device) -> None:
        events.mark_watched(owner.pk)
        Watch.objects.update(until=timezone.now() - timedelta(seconds=1))
        assert watchers(device) == set()

    def test_a_watch_is_one_row_that_is_written_again_when_half_its_time_is_over(
        self, owner: User
    ) -> None:
        events.mark_watched(owner.pk)
        first = Watch.objects.get().until
        with rows_locked() as locked:
            events.mark_watched(owner.pk)
        assert not locked
        assert Watch.objects.get().until == first
        Watch.objects.update(until=timezone.now() + timedelta(seconds=events.WATCH_SECONDS / 3))
        events.mark_watched(owner.pk)
        assert Watch.objects.get().until >= first

    def test_an_event_reads_its_device_and_not_all_of_its_owner(self, owner: User) -> None:
        create_devices(owner, 20_000)
        events.mark_watched(owner.pk)
        some = Device.objects.order_by("pk")[:3]
        with count_reads() as read:
            events.publish([Event("reading", device.pk) for device in some])
        assert read.rows["devices"] <= 6


@contextmanager
def rows_locked() -> Iterator[list[str]]:
    """The locks on rows of `user_watches` that are taken inside, which leave a trace in the row."""
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmax::text, ctid::text FROM user_watches")
        before = cursor.fetchall()
        yield found
        cursor.execute("SELECT xmax::text, ctid::text FROM user_watches")
        found += [str(row) for row in cursor.fetchall() if row not in before]
