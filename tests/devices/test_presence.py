from datetime import timedelta

import pytest
from django.db import connection

from devices import presence
from devices.models import Device
from tests.factories import NOW, DeviceFactory

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def seen(silence, *, interval=60, **fields):
    return DeviceFactory.create(
        last_seen_at=NOW - silence, expected_interval=interval, status="online", **fields
    )


def is_online(device):
    online = Device.objects.with_presence(NOW).get(pk=device.pk).online
    # One rule, asked in three ways.
    assert Device.objects.online(NOW).filter(pk=device.pk).exists() is online
    assert Device.objects.offline(NOW).filter(pk=device.pk).exists() is not online
    return online


@pytest.mark.parametrize("interval", [1, 60, 30 * 24 * 3600])
def test_a_device_is_offline_once_interval_and_precision_have_passed(db, interval):
    longest = (interval + 30) * SECOND
    assert is_online(seen(longest, interval=interval))
    assert not is_online(seen(longest + MICROSECOND, interval=interval))


def test_a_device_that_never_spoke_is_offline(device):
    assert not is_online(device)


def test_what_was_announced_does_not_decide_what_is_shown(db):
    talking = seen(SECOND)
    Device.objects.update(status="offline")
    assert is_online(talking)


def test_first_contact_makes_a_device_online(device):
    presence.mark_seen(device, now=NOW)
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW)


@pytest.mark.parametrize(
    ("later", "written"),
    [(SECOND, False), (30 * SECOND, False), (30 * SECOND + MICROSECOND, True)],
)
def test_contact_is_written_at_most_every_thirty_seconds(device, later, written):
    presence.mark_seen(device, now=NOW)
    presence.mark_seen(device, now=NOW + later)
    device.refresh_from_db()
    assert device.last_seen_at == (NOW + later if written else NOW)


def test_contact_after_an_announced_silence_is_always_written(device):
    presence.mark_seen(device, now=NOW)
    Device.objects.update(status="offline")
    presence.mark_seen(device, now=NOW + SECOND)
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW + SECOND)


def test_contact_with_one_device_says_nothing_of_another(device):
    other = DeviceFactory.create()
    presence.mark_seen(device, now=NOW)
    other.refresh_from_db()
    assert other.last_seen_at is None


def test_noting_contact_is_one_query(device, django_assert_num_queries):
    with django_assert_num_queries(1):
        presence.mark_seen(device, now=NOW)


def test_the_silent_are_announced_once(db):
    silent = seen(91 * SECOND)
    seen(90 * SECOND)
    seen(91 * SECOND, deleted_at=NOW)
    assert presence.announce_offline(now=NOW) == [silent]
    assert presence.announce_offline(now=NOW) == []
    silent.refresh_from_db()
    assert silent.status == "offline"
    assert Device.objects.filter(status="online", deleted_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_who_speaks_while_silence_is_being_announced_stays_online():
    device, other = seen(91 * SECOND), seen(91 * SECOND)
    elsewhere = connection.copy()
    elsewhere.set_autocommit(False)
    with elsewhere.cursor() as cursor:
        cursor.execute(presence.MARK_SEEN, presence.mark_seen_params(device, now=NOW))
    assert presence.announce_offline(now=NOW) == [other]
    elsewhere.commit()
    elsewhere.close()
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW)
    assert presence.announce_offline(now=NOW) == []


def test_a_whole_fleet_that_falls_silent_takes_few_statements(
    db, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(presence, "BATCH_SIZE", 10)
    fleet = [seen(91 * SECOND) for _ in range(15)]
    with django_assert_max_num_queries(3 * 5):
        announced = presence.announce_offline(now=NOW)
    assert {device.pk for device in announced} == {device.pk for device in fleet}
    assert not Device.objects.filter(status="online").exists()
