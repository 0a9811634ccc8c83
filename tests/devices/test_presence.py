from datetime import timedelta

import pytest
from django.db import connection

from devices import presence
from devices.models import Device
from tests.factories import NOW, DeviceFactory

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def create_seen_device(silence, *, interval=60, **fields):
    return DeviceFactory.create(
        last_seen_at=NOW - silence, expected_interval=interval, status="online", **fields
    )


def is_online(device):
    online = Device.objects.with_presence(NOW).get(pk=device.pk).online
    # All three query set methods apply the same rule.
    assert Device.objects.online(NOW).filter(pk=device.pk).exists() is online
    assert Device.objects.offline(NOW).filter(pk=device.pk).exists() is not online
    return online


@pytest.mark.parametrize("interval", [1, 60, 30 * 24 * 3600])
def test_a_device_is_offline_thirty_seconds_after_its_interval(db, interval):
    limit = (interval + 30) * SECOND
    assert is_online(create_seen_device(limit, interval=interval))
    assert not is_online(create_seen_device(limit + MICROSECOND, interval=interval))


def test_a_device_that_was_never_seen_is_offline(device):
    assert not is_online(device)


def test_the_presence_does_not_depend_on_the_announced_status(db):
    active_device = create_seen_device(SECOND)
    Device.objects.update(status="offline")
    assert is_online(active_device)


def test_the_first_contact_makes_a_device_online(device):
    presence.mark_seen(device, now=NOW)
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW)


@pytest.mark.parametrize(
    ("later", "written"),
    [(SECOND, False), (30 * SECOND, False), (30 * SECOND + MICROSECOND, True)],
)
def test_last_seen_at_is_written_at_most_every_thirty_seconds(device, later, written):
    presence.mark_seen(device, now=NOW)
    presence.mark_seen(device, now=NOW + later)
    device.refresh_from_db()
    assert device.last_seen_at == (NOW + later if written else NOW)


def test_contact_after_an_announced_offline_status_is_always_written(device):
    presence.mark_seen(device, now=NOW)
    Device.objects.update(status="offline")
    presence.mark_seen(device, now=NOW + SECOND)
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW + SECOND)


def test_contact_with_a_device_does_not_change_another(device):
    other = DeviceFactory.create()
    presence.mark_seen(device, now=NOW)
    other.refresh_from_db()
    assert other.last_seen_at is None


def test_recording_contact_takes_one_query(device, django_assert_num_queries):
    with django_assert_num_queries(1):
        presence.mark_seen(device, now=NOW)


def test_an_offline_device_is_announced_once(db):
    silent = create_seen_device(91 * SECOND)
    create_seen_device(90 * SECOND)
    create_seen_device(91 * SECOND, deleted_at=NOW)
    assert presence.announce_offline(now=NOW) == [silent]
    assert presence.announce_offline(now=NOW) == []
    silent.refresh_from_db()
    assert silent.status == "offline"
    assert Device.objects.filter(status="online", deleted_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_device_seen_during_the_announcement_stays_online():
    device, other = create_seen_device(91 * SECOND), create_seen_device(91 * SECOND)
    other_connection = connection.copy()
    other_connection.set_autocommit(False)
    with other_connection.cursor() as cursor:
        cursor.execute(presence.MARK_SEEN, presence.mark_seen_params(device, now=NOW))
    assert presence.announce_offline(now=NOW) == [other]
    other_connection.commit()
    other_connection.close()
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW)
    assert presence.announce_offline(now=NOW) == []


def test_announcing_many_offline_devices_takes_few_queries(
    db, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(presence, "BATCH_SIZE", 10)
    fleet = [create_seen_device(91 * SECOND) for _ in range(15)]
    with django_assert_max_num_queries(3 * 5):
        announced = presence.announce_offline(now=NOW)
    assert {device.pk for device in announced} == {device.pk for device in fleet}
    assert not Device.objects.filter(status="online").exists()
