"""Constraints of the table, for every way to write to it."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg import errors

from devices.models import Device
from telemetry.ingest import storage
from telemetry.models import Telemetry
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, make_reading, store_reading

PARTITION = "telemetry_2025_06"


def insert(table, *device_ids, payload='{"a": 1}', kind="raw"):
    rows = [
        (uuid4(), device_id, kind, payload, NOW + timedelta(seconds=number), NOW)
        for number, device_id in enumerate(device_ids)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s, %s)", rows)  # noqa: S608


def is_foreign_key_violation(error):
    return isinstance(error.value.__cause__, errors.ForeignKeyViolation)


@pytest.mark.parametrize("table", ["telemetry", PARTITION])
def test_a_row_of_a_known_device_is_stored(device, table):
    insert(table, device.pk)
    assert Telemetry.objects.get().device == device


@pytest.mark.parametrize("table", ["telemetry", PARTITION])
def test_a_row_of_an_unknown_device_is_rejected(device, table):
    with pytest.raises(IntegrityError) as error:
        insert(table, uuid4())
    assert is_foreign_key_violation(error)


def test_one_unknown_device_among_many_rows_is_rejected(device):
    with pytest.raises(IntegrityError) as error, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry SELECT gen_random_uuid(), device, 'raw', '{}', %s, %s"
            " FROM unnest(%s::uuid[]) AS device",
            [NOW, NOW, [device.pk, uuid4(), device.pk]],
        )
    assert is_foreign_key_violation(error)


@pytest.mark.parametrize("table", ["telemetry", PARTITION])
def test_copying_a_row_of_an_unknown_device_is_rejected(db, table):
    with pytest.raises(IntegrityError) as error, connection.cursor() as cursor:
        with connection.wrap_database_errors, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write_row((uuid4(), uuid4(), "raw", "{}", NOW, NOW))
    assert is_foreign_key_violation(error)


@pytest.mark.parametrize("table", ["telemetry", PARTITION])
def test_a_row_cannot_be_moved_to_an_unknown_device(device, table):
    store_reading(device)
    with pytest.raises(IntegrityError) as error, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET device_id = %s", [uuid4()])  # noqa: S608
    assert is_foreign_key_violation(error)


def test_a_row_can_be_moved_to_another_device(device):
    other = DeviceFactory.create()
    store_reading(device)
    assert Telemetry.objects.update(device=other) == 1


def test_a_device_with_readings_cannot_be_deleted(device):
    store_reading(device)
    for delete in (device.delete, Device.objects.all().delete, device.user.delete):
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            delete()
        assert is_foreign_key_violation(error)
    with pytest.raises(IntegrityError), transaction.atomic():
        Device.objects.update(id=uuid4())
    assert Telemetry.objects.get().device == device


def test_a_device_without_readings_can_be_deleted(device):
    store_reading(DeviceFactory.create())
    device.delete()
    assert Device.objects.count() == 1


@pytest.mark.parametrize(
    "bad", [{"payload": "[]"}, {"payload": "1"}, {"payload": "null"}, {"kind": ""}]
)
def test_a_row_needs_a_type_and_an_object_as_payload(device, bad):
    with pytest.raises(IntegrityError) as error:
        insert("telemetry", device.pk, **bad)
    assert isinstance(error.value.__cause__, errors.CheckViolation)


def test_the_same_reading_cannot_be_inserted_twice(device):
    reading = make_reading(device)
    row = (reading.id, device.pk, "environment", json.dumps({}), reading.recorded_at, NOW)
    with pytest.raises(IntegrityError) as error, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO telemetry VALUES (%s, %s, %s, %s, %s, %s)", [row, row])
    assert isinstance(error.value.__cause__, errors.UniqueViolation)


def in_another_connection(statement, *params):
    """Run a statement on another connection with a short lock timeout and return its outcome."""

    def run():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
            cursor.execute(statement, params)

    return run_concurrently(run)[0]


@pytest.mark.django_db(transaction=True)
def test_a_device_cannot_be_deleted_while_a_reading_of_it_is_inserted():
    device = DeviceFactory.create()
    with transaction.atomic():
        insert("telemetry", device.pk)
        refusal = in_another_connection("DELETE FROM devices WHERE id = %s", device.pk)
        assert isinstance(refusal, OperationalError)
    assert Telemetry.objects.get().device == device


@pytest.mark.django_db(transaction=True)
def test_an_insert_waits_while_its_device_is_deleted():
    device_id = DeviceFactory.create().pk
    with transaction.atomic():
        Device.objects.all().delete()
        refusal = in_another_connection(
            "INSERT INTO telemetry VALUES (gen_random_uuid(), %s, 'raw', '{}', %s, %s)",
            device_id,
            NOW,
            NOW,
        )
        assert isinstance(refusal, OperationalError)
    assert not Telemetry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_concurrent_inserts_and_deletions_leave_no_reading_without_a_device():
    for _ in range(5):
        devices = DeviceFactory.create_batch(4)

        def send(device):
            return lambda: storage.store(device, [make_reading(device)], now=NOW)

        def delete(device):
            return lambda: Device.objects.filter(pk=device.pk).delete()

        outcomes = run_concurrently(*map(send, devices), *map(delete, devices))
        for sent, deleted in zip(outcomes[:4], outcomes[4:], strict=True):
            # One of the two committed first, and the other failed.
            if isinstance(sent, storage.DeviceDeleted):
                # The keys registered just before are deleted with the device.
                assert deleted[1]["devices.Device"] == 1
            else:
                assert isinstance(deleted, IntegrityError)
        known = Device.objects.values("pk")
        assert not Telemetry.objects.exclude(device_id__in=known).exists()
