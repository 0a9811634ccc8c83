"""Sparklines: the values of the last day."""

from datetime import datetime, timedelta

import pytest
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts.models import User
from devices.models import Device
from telemetry.queries import sparklines
from telemetry.queries.sparklines import SparklineKey
from telemetry.rollups import build as rollups
from tests.factories import DeviceFactory, store_reading, store_readings

HOUR = timedelta(hours=1)


def test_a_sparkline_has_the_average_of_each_hour_of_a_day(device: Device, now: datetime) -> None:
    for number in range(1, 9):
        for minute in (0, 30):
            at = now - number * HOUR + timedelta(minutes=minute)
            store_reading(device, recorded_at=at, payload={"t": number + minute})
    rollups.rebuild(device, now - 24 * HOUR, now)
    wanted = SparklineKey(device.pk, "environment", "t")
    found = sparklines.recent_points([wanted], now=now)[wanted]
    assert [value for _, value in found] == [number + 15 for number in range(8, 0, -1)]
    assert found[-1][0] == (now - HOUR / 2).timestamp()


def test_a_device_with_few_hours_gets_its_newest_readings(device: Device, now: datetime) -> None:
    store_readings(
        device, payloads=[{"a": {"b": 1}}, {"a": "on"}, {"a": {"b": True}}], recorded_at=now - HOUR
    )
    wanted = SparklineKey(device.pk, "environment", "a.b")
    found = sparklines.recent_points([wanted], now=now)[wanted]
    first = (now - HOUR).timestamp()
    assert found == [(first, 1.0), (first + 2, 1.0)]


def test_a_key_without_recent_readings_has_no_points(device: Device, now: datetime) -> None:
    store_reading(device, recorded_at=now - 25 * HOUR, payload={"t": 1})
    rollups.rebuild(device, now - 48 * HOUR, now)
    wanted = SparklineKey(device.pk, "environment", "t")
    assert sparklines.recent_points([wanted], now=now) == {wanted: []}
    assert sparklines.recent_points([], now=now) == {}


@pytest.mark.parametrize("devices", [1, 5])
def test_sparklines_of_any_number_of_devices_take_one_query(
    owner: User,
    now: datetime,
    devices: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    wanted = []
    for number in range(devices):
        device = DeviceFactory.create(user=owner)
        store_reading(device, recorded_at=now - HOUR, payload={"t": number})
        wanted.append(SparklineKey(device.pk, "environment", "t"))
    with django_assert_num_queries(1):
        found = sparklines.recent_points(wanted, now=now)
    assert [found[one][0][1] for one in wanted] == list(range(devices))
