"""Storage of readings, with INSERT and with COPY."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.db import IntegrityError, connection, transaction

from devices import services as device_services
from devices.models import Device
from telemetry.ingest import storage
from telemetry.models import Telemetry
from telemetry.retention import partitions
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, make_reading
from tests.telemetry.old_partitions import drop_old_partitions

SECOND = timedelta(seconds=1)
OLD = datetime(2001, 5, 20, tzinfo=UTC)
"""A month without a partition."""


def series_of(device, count, **given):
    return [
        make_reading(device, payload={"n": number}, recorded_at=NOW + number * SECOND, **given)
        for number in range(count)
    ]


@pytest.fixture(autouse=True, params=["inserted", "copied"])
def way(request, monkeypatch):
    """Run every test with INSERT and with COPY."""
    monkeypatch.setattr(storage, "COPY_THRESHOLD", 1 if request.param == "copied" else 10**9)


def rows():
    return sorted(Telemetry.objects.values_list("id", "recorded_at", "telemetry_type"))


def test_a_reading_is_stored_unchanged(device):
    payload = {"temperature": -2.5e-8, "größe": [1, {"deep": None}], "big": 2**53, "on": True}
    reading = make_reading(device, payload=payload, recorded_at=NOW, telemetry_type="env")
    assert storage.store(device, [reading], now=NOW + SECOND) == storage.StoreResult(1, 0)
    row = Telemetry.objects.get()
    assert (row.pk, row.device, row.telemetry_type) == (reading.id, device, "env")
    assert (row.recorded_at, row.created_at) == (NOW, NOW + SECOND)
    assert row.payload == payload
    assert json.dumps(row.payload["on"]) == "true"


def test_an_empty_batch_stores_nothing(device):
    assert storage.store(device, [], now=NOW) == storage.StoreResult(0, 0)


def test_stored_readings_count_as_duplicates_and_are_not_changed(device):
    batch = series_of(device, 5)
    storage.store(device, batch[:3], now=NOW)
    assert storage.store(device, batch, now=NOW + SECOND) == storage.StoreResult(2, 3)
    assert storage.store(device, [*batch, *batch], now=NOW) == storage.StoreResult(0, 10)
    assert Telemetry.objects.filter(created_at=NOW).count() == 3


def test_a_reading_twice_in_one_batch_is_stored_once(device):
    assert storage.store(device, series_of(device, 2) * 3, now=NOW) == storage.StoreResult(2, 4)


def test_the_same_reading_of_two_devices_is_stored_twice(device):
    other = DeviceFactory.create()
    storage.store(device, series_of(device, 3), now=NOW)
    assert storage.store(other, series_of(other, 3), now=NOW) == storage.StoreResult(3, 0)


def test_two_readings_of_the_same_time_are_both_stored(device):
    pair = [make_reading(device, payload={"a": 1}), make_reading(device, payload={"a": 2})]
    assert storage.store(device, pair, now=NOW).accepted == 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_reversed_batches_do_not_deadlock_and_store_no_duplicates():
    device, other = DeviceFactory.create_batch(2)
    batch, others = series_of(device, 300), series_of(other, 300)

    def send(to, readings):
        return lambda: storage.store(to, readings, now=NOW)

    outcomes = run_concurrently(
        *[send(device, batch), send(device, batch[::-1])] * 3,
        send(other, others),
        send(other, others[::-1]),
    )
    assert [type(outcome) for outcome in outcomes] == [storage.StoreResult] * 8
    assert sum(stored.accepted for stored in outcomes[:6]) == 300
    assert sum(stored.duplicates for stored in outcomes[:6]) == 5 * 300
    assert sum(stored.accepted for stored in outcomes[6:]) == 300
    assert Telemetry.objects.filter(device=device).count() == 300


@pytest.mark.django_db(transaction=True)
def test_reversed_batches_that_wait_for_the_same_row_do_not_deadlock():
    device = DeviceFactory.create()
    batch = series_of(device, 300)
    held, go_on = threading.Event(), threading.Event()

    def hold_the_middle():
        with transaction.atomic():
            storage.store(device, [batch[150]], now=NOW)
            held.set()
            go_on.wait(120)
            transaction.set_rollback(True)

    def both_wait():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
            return cursor.fetchone()[0] == 2

    def closing(work, *args):
        try:
            return work(*args)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        holder = pool.submit(closing, hold_the_middle)
        assert held.wait(120), "the reading is not stored"
        senders = [
            pool.submit(closing, lambda sent: storage.store(device, sent, now=NOW), sent)
            for sent in (batch, batch[::-1])
        ]
        deadline = time.monotonic() + 1.5
        while not both_wait() and time.monotonic() < deadline:
            pass
        go_on.set()
        holder.result()
        assert sum(sender.result().accepted for sender in senders) == 300
    assert Telemetry.objects.filter(device=device).count() == 300


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_for_a_missing_partition_create_it_once():
    device = DeviceFactory.create()
    batches = [
        [make_reading(device, payload={"n": number}, recorded_at=OLD + timedelta(days=20))]
        for number in range(6)
    ]
    try:
        outcomes = run_concurrently(
            *[lambda batch=batch: storage.store(device, batch, now=NOW) for batch in batches]
        )
        assert outcomes == [storage.StoreResult(1, 0)] * 6
    finally:
        drop_old_partitions()


def test_a_batch_across_missing_partitions_is_stored_completely(device):
    batch = [make_reading(device, recorded_at=OLD + timedelta(days=20) * step) for step in range(9)]
    assert storage.store(device, [*batch, make_reading(device)], now=NOW).accepted == 10


def test_creating_a_partition_keeps_the_open_transaction_usable(device):
    storage.store(device, [make_reading(device, recorded_at=OLD)], now=NOW)
    assert Telemetry.objects.count() == 1
    assert partitions.ensure([partitions.month_of(OLD)], now=NOW) == []


@pytest.mark.parametrize("recorded_at", [NOW, OLD], ids=["month there", "month missing"])
def test_for_a_deleted_device_storing_fails_and_the_transaction_stays_usable(device, recorded_at):
    Device.objects.all().delete()
    with pytest.raises(storage.DeviceDeleted):
        storage.store(device, [make_reading(device, recorded_at=recorded_at)], now=NOW)
    assert not Telemetry.objects.exists()


@pytest.mark.parametrize("fields", [{"json": b"[]"}, {"telemetry_type": ""}])
def test_an_invalid_row_raises_the_integrity_error(device, fields):
    bad = msgspec.structs.replace(make_reading(device), **fields)
    with pytest.raises(IntegrityError):
        storage.store(device, [bad], now=NOW)


def test_one_invalid_row_rolls_back_the_whole_batch(device):
    bad = make_reading(device, telemetry_type="")
    with pytest.raises(IntegrityError):
        storage.store(device, [*series_of(device, 3), bad], now=NOW)
    assert not Telemetry.objects.exists()


def test_a_reading_marks_the_device_as_online(device):
    storage.store(device, series_of(device, 1), now=NOW)
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("online", NOW)


def test_a_duplicate_marks_the_device_as_seen(device):
    storage.store(device, series_of(device, 1), now=NOW)
    storage.store(device, series_of(device, 1), now=NOW + 31 * SECOND)
    device.refresh_from_db()
    assert device.last_seen_at == NOW + 31 * SECOND


def test_a_second_reading_within_the_presence_interval_does_not_update_last_seen(device):
    storage.store(device, series_of(device, 1), now=NOW)
    storage.store(device, series_of(device, 2), now=NOW + 30 * SECOND)
    device.refresh_from_db()
    assert device.last_seen_at == NOW


def test_an_import_does_not_mark_the_device_as_online(device):
    storage.store(device, series_of(device, 3), now=NOW, contact=False)
    device.refresh_from_db()
    assert (device.status, device.last_seen_at) == ("offline", None)
    assert Telemetry.objects.count() == 3


def test_a_reading_marks_only_its_own_device_as_seen(device):
    other = DeviceFactory.create()
    storage.store(device, series_of(device, 1), now=NOW)
    other.refresh_from_db()
    assert other.last_seen_at is None


def test_a_batch_of_a_device_deleted_during_the_request_is_stored(device):
    device_services.soft_delete(device, now=NOW)
    assert storage.store(device, series_of(device, 1), now=NOW).accepted == 1


@pytest.mark.parametrize("count", [1, storage.COPY_THRESHOLD - 1])
@pytest.mark.django_db(transaction=True)
def test_a_small_batch_is_stored_by_one_statement(django_assert_num_queries, monkeypatch, count):
    monkeypatch.undo()
    device = DeviceFactory.create()
    batch = series_of(device, count + 1)
    storage.store(device, batch[:1], now=NOW)
    with django_assert_num_queries(1):
        storage.store(device, batch[1:], now=NOW)


def test_the_lookup_of_duplicates_uses_the_index_of_one_month(device):
    minutes = [NOW - timedelta(minutes=number) for number in range(30_000)]
    storage.store(device, [make_reading(device, recorded_at=at) for at in minutes], now=NOW)
    arguments = {"device": device.pk, "first": NOW - timedelta(hours=1), "last": NOW, "most": 1000}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE telemetry")
        cursor.execute(f"EXPLAIN {storage.IDS}", arguments)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index" in plan
    assert "Seq Scan" not in plan
    assert "telemetry_2025_06" in plan
    assert "telemetry_2025_05" not in plan
