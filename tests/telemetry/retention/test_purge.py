"""Purging deleted devices with all their rows."""

import logging
import threading
from datetime import timedelta
from itertools import islice

import pytest
from django.db import connection

from devices import services as device_services
from devices.models import Device
from telemetry.ingest import storage
from telemetry.models import DayRollup, Delivery, HourRollup, Key, Telemetry
from telemetry.retention import purge
from tests.concurrency import run_concurrently
from tests.factories import NOW, CommandFactory, DeviceFactory, device_token, make_reading
from tests.stopping import stop_after
from tests.telemetry.retention_rules import create_rule


def with_readings(count, *, every=timedelta(days=7), **fields):
    """Return a device with readings whose only value has a name that cannot be registered as
    a key.
    """
    device = DeviceFactory.create(**fields)
    storage.store(
        device,
        [
            make_reading(device, recorded_at=NOW + number * every, payload={"n°": number})
            for number in range(count)
        ],
        now=NOW,
    )
    return device


def with_rows_everywhere(device, count):
    for number in range(count):
        key = {"device": device, "telemetry_type": "environment", "key": f"k{number}"}
        for model in (HourRollup, DayRollup):
            model.objects.create(**key, bucket=NOW, count=1, sum=1, min=1, max=1)
        Key.objects.create(**key, since=NOW)
        Delivery.objects.create(
            device=device, idempotency_key=str(number), body_digest=b"", received_at=NOW
        )


def test_a_deleted_device_is_purged_with_all_its_rows(db):
    gone, staying = with_readings(5), with_readings(3)
    for device in (gone, staying):
        with_rows_everywhere(device, 2)
        create_rule(30, device=device)
    CommandFactory.create(device=gone)
    device_token(gone)
    device_services.soft_delete(gone, now=NOW)
    assert purge.purge_deleted() == {
        "telemetry": 5,
        "telemetry_hours": 2,
        "telemetry_days": 2,
        "telemetry_keys": 2,
        "telemetry_deliveries": 2,
    }
    assert Device.objects.get() == staying
    assert Telemetry.objects.filter(device=staying).count() == 3
    assert Telemetry.objects.count() == 3
    assert [model.objects.count() for model in (HourRollup, DayRollup, Key, Delivery)] == [2] * 4


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize("every", [timedelta(days=7), timedelta(0)])
def test_rows_are_deleted_in_batches_until_none_is_left(db, monkeypatch, batch, every):
    monkeypatch.setattr(purge, "BATCH_SIZE", batch)
    device = with_readings(6, every=every)
    with_rows_everywhere(device, 3)
    device_services.soft_delete(device, now=NOW)
    sizes = [(table, rows) for table, rows in purge.purge_device(device)]
    assert all(rows <= batch for _, rows in sizes)
    assert sum(rows for table, rows in sizes if table == "telemetry") == 6
    assert len(sizes) == -(-6 // batch) + 4 * -(-3 // batch)
    assert not Telemetry.objects.exists()
    assert not Device.objects.exists()


def test_without_deleted_devices_nothing_is_purged(db):
    with_readings(2)
    assert purge.purge_deleted() == {}
    assert Telemetry.objects.count() == 2
    assert Device.objects.count() == 1


def test_purging_an_active_device_keeps_its_row(db):
    device = with_readings(2)
    list(purge.purge_device(device))
    assert Device.objects.filter(pk=device.pk).exists()


def test_the_log_shows_the_progress_of_a_large_purge(db, monkeypatch, caplog):
    monkeypatch.setattr(purge, "BATCH_SIZE", 2)
    monkeypatch.setattr(purge, "LOG_INTERVAL", 4)
    device = with_readings(9)
    device_services.soft_delete(device, now=NOW)
    with caplog.at_level(logging.INFO):
        purge.purge_deleted()
    said = [record.getMessage() for record in caplog.records if record.name == purge.__name__]
    assert said == [
        f"purging device {device.pk}, 4 rows so far",
        f"purging device {device.pk}, 8 rows so far",
        f"purged device {device.pk}: {{'telemetry': 9}}",
    ]


def test_the_progress_of_a_purge_can_be_read_during_the_purge(db, monkeypatch):
    monkeypatch.setattr(purge, "BATCH_SIZE", 10)
    device, waiting = with_readings(40, every=timedelta(hours=1)), with_readings(0)
    for day, count in enumerate((25, 15)):
        of_day = {"bucket": NOW + timedelta(days=day), "sum": 0, "min": 0, "max": 0}
        key = {"device": device, "telemetry_type": "environment"}
        DayRollup.objects.create(**key, **of_day, key="n", count=count)
        # A value that only some of the readings contain.
        DayRollup.objects.create(**key, **of_day, key="rare", count=1)
    device_services.soft_delete(device, now=NOW)
    device_services.soft_delete(waiting, now=NOW + timedelta(seconds=1))
    assert purge.in_progress(10) == (2, [device, waiting])
    going = purge.purge_device(device)
    seen = []
    for gone in going:
        if gone.table == "telemetry":
            next_up = purge.in_progress(1)[1][0]
            seen.append((next_up.purge.gone, next_up.purge.percent))
    assert seen == [(10, 25), (20, 50), (30, 75), (40, 99)]
    assert purge.in_progress(10) == (1, [waiting])
    assert not hasattr(waiting, "purge")


@pytest.mark.django_db(transaction=True)
class TestOwnConnection:
    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch):
        monkeypatch.setattr(purge, "BATCH_SIZE", 5)

    @pytest.fixture
    def device(self):
        device = with_readings(42, every=timedelta(hours=20))
        device_services.soft_delete(device, now=NOW)
        return device

    def test_after_a_killed_purge_the_deleted_rows_stay_deleted_and_the_rest_is_purged_later(
        self, device
    ):
        killed = purge.purge_device(device)
        assert [rows for _, rows in islice(killed, 3)] == [5, 5, 5]
        # No transaction is open between two batches, so nothing is rolled back.
        connection.close()
        assert Telemetry.objects.count() == 42 - 15
        assert purge.purge_deleted() == {"telemetry": 42 - 15}
        assert not Device.objects.exists()

    def test_a_stopped_purge_ends_after_a_batch_and_the_rest_is_purged_later(self, device):
        assert purge.purge_deleted(should_stop=stop_after(0)) == {}
        assert purge.purge_deleted(should_stop=stop_after(3)) == {"telemetry": 15}
        assert purge.purge_deleted() == {"telemetry": 42 - 15}
        assert not Device.objects.exists()

    def test_two_concurrent_purges_delete_each_row_once(self, device):
        one, another = run_concurrently(purge.purge_deleted, purge.purge_deleted)
        assert one["telemetry"] + another["telemetry"] == 42
        assert not Telemetry.objects.exists()
        assert not Device.objects.exists()

    def test_other_devices_can_send_during_a_purge(self, device):
        sender = DeviceFactory.create()
        new = [make_reading(sender, recorded_at=NOW + n * timedelta(hours=3)) for n in range(30)]

        def send():
            return sum(storage.store(sender, [one], now=NOW).accepted for one in new)

        gone, stored = run_concurrently(purge.purge_deleted, send)
        assert (gone["telemetry"], stored) == (42, 30)
        assert Telemetry.objects.count() == 30

    def test_a_device_with_a_reading_stored_during_its_purge_is_purged_the_next_time(
        self, device, monkeypatch, caplog
    ):
        other = with_readings(1)
        device_services.soft_delete(other, now=NOW + timedelta(seconds=1))
        forget, late = device_services.hard_delete, threading.Event()

        def forget_late(deleted):
            if not late.is_set():
                late.set()
                storage.store(deleted, [make_reading(deleted, payload={"late!": 1})], now=NOW)
            forget(deleted)

        monkeypatch.setattr(device_services, "hard_delete", forget_late)
        assert purge.purge_deleted() == {"telemetry": 43}
        assert "is kept until the next purge" in caplog.text
        assert Device.objects.get() == device
        assert purge.purge_deleted() == {"telemetry": 1}
        assert not Device.objects.exists()
