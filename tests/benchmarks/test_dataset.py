from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from django.db import connection

from benchmarks import dataset
from benchmarks.peers import raw_copy
from devices.models import Device
from telemetry.ingest import validation
from telemetry.models import Telemetry
from telemetry.retention import partitions
from tests.factories import DeviceFactory

START = datetime(2025, 3, 1, tzinfo=UTC)


def month(device: UUID, fleet: list[UUID]) -> dataset.Month:
    return dataset.Month(
        "",
        "telemetry_2025_03",
        device,
        fleet,
        timedelta(minutes=1),
        START,
        START + timedelta(hours=1),
    )


def test_readings_are_sorted_and_each_device_sends_at_its_interval() -> None:
    one, fleet = UUID(int=1), [UUID(int=2), UUID(int=3)]
    arrivals = list(dataset._arrivals(month(one, fleet)))
    assert [time for _, time, _ in arrivals] == sorted(time for _, time, _ in arrivals)
    by_device = {
        device: [time for who, time, _ in arrivals if who == device.bytes]
        for device in [one, *fleet]
    }
    assert [len(times) for times in by_device.values()] == [360, 60, 60]
    for device, times in by_device.items():
        step = 10_000_000 if device == one else 60_000_000
        assert {later - earlier for earlier, later in pairwise(times)} == {step}


@pytest.mark.django_db
def test_loaded_rows_are_the_same_as_stored_by_ingest(device: Device) -> None:
    partitions.ensure([partitions.month_of(START)], now=START)
    other = DeviceFactory.create()
    with connection.cursor() as cursor, cursor.copy(raw_copy.COPY) as sink:
        rows = [row for piece in dataset._pieces(month(device.pk, [other.pk])) for row in piece]
        sink.write(b"".join([raw_copy.HEAD, *rows[:200], raw_copy.END]))
    found = Telemetry.objects.filter(device__in=[device, other])
    assert len(found) == 200
    for row in found:
        reading = validation.build_reading(
            row.device_id, row.telemetry_type, row.payload, row.recorded_at
        )
        assert reading.id == row.id
        assert row.created_at == row.recorded_at
