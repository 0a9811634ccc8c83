from datetime import timedelta

import pytest

from devices import enrolment
from devices.models import Device
from telemetry import ingest, purge
from telemetry.models import Telemetry
from tests.factories import NOW, CommandFactory, DeviceFactory, device_token, make_reading


def with_readings(count, **fields):
    device = DeviceFactory.create(**fields)
    ingest.store(
        device,
        [
            make_reading(device, recorded_at=NOW + number * timedelta(days=7))
            for number in range(count)
        ],
        now=NOW,
    )
    return device


def test_a_decommissioned_device_goes_with_all_that_is_its(db):
    gone, staying = with_readings(5), with_readings(3)
    CommandFactory.create(device=gone)
    device_token(gone)
    enrolment.decommission(gone, now=NOW)
    assert purge.purge_deleted() == 5
    assert Device.objects.get() == staying
    assert Telemetry.objects.filter(device=staying).count() == 3
    assert Telemetry.objects.count() == 3


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_readings_go_in_batches_and_none_is_left(db, monkeypatch, batch):
    monkeypatch.setattr(purge, "BATCH", batch)
    device = with_readings(6)
    enrolment.decommission(device, now=NOW)
    assert purge.purge_deleted() == 6
    assert not Telemetry.objects.exists()


def test_without_anything_decommissioned_nothing_is_removed(db):
    with_readings(2)
    assert purge.purge_deleted() == 0
    assert Telemetry.objects.count() == 2
    assert Device.objects.count() == 1


def test_a_living_device_keeps_its_row_whoever_purges_it(db):
    device = with_readings(2)
    purge.purge(device)
    assert Device.objects.filter(pk=device.pk).exists()
