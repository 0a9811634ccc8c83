"""Series: the bucket of each reading, aggregated values, and gaps."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from telemetry.ingest import storage
from telemetry.queries import series
from telemetry.queries.series import Columns
from telemetry.retention import partitions
from telemetry.rollups import build as rollups
from telemetry.rollups.build import DAY, HOUR
from tests.factories import NOW, DeviceFactory, make_reading, store_readings
from tests.telemetry.rollup_state import create_keys, number, set_rollup_watermark
from tests.telemetry.series_queries import DAYS, HOURS, query_columns, query_series

SECOND = timedelta(seconds=1)
EMPTY = Columns([], [], [], [])


def place_of(at, start, step, zone):
    """Return the bucket of a reading, computed from the local time."""
    if step <= HOURS:
        local = start.astimezone(zone)
        since_midnight = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        length = step * SECOND
        return (at - (start - since_midnight % length)) // length
    local = at.astimezone(zone).replace(tzinfo=None)
    if step < DAYS:
        return local.date(), local.hour // (step // HOURS)
    return (local - datetime(2000, 1, 3)) // (step * SECOND)  # noqa: DTZ001


def brute_force(readings, start, end, step, zone):
    places = defaultdict(list)
    for at, value in readings:
        if start <= at < end and number(value) is not None:
            places[place_of(at, start, step, zone)].append((at, number(value)))
    return [places[place] for place in sorted(places)]


CHANGES = {
    "UTC": datetime(2025, 3, 30, tzinfo=UTC),
    "Europe/Brussels": datetime(2025, 3, 30, tzinfo=UTC),
    "Europe/London": datetime(2025, 10, 26, tzinfo=UTC),
    "Asia/Kolkata": datetime(2025, 3, 30, tzinfo=UTC),
    "America/St_Johns": datetime(2025, 3, 9, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2025, 10, 5, tzinfo=UTC),
}
"""By time zone, a day near a clock change, if the zone has one."""
numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.booleans()
others = st.sampled_from(["text", "1", None, [], {}, [1]])


class TestBuckets(TestCase):
    @classmethod
    def setUpTestData(cls):
        partitions.ensure((date(2025, n, 1) for n in (3, 4, 10)), now=NOW)

    @settings(max_examples=30)
    @given(
        st.sampled_from(sorted(CHANGES)),
        st.lists(st.tuples(st.integers(-4 * DAYS, 4 * DAYS), numbers | others), max_size=30),
        st.integers(-5 * DAYS, 4 * DAYS),
        st.integers(1, 9 * DAYS),
        st.sampled_from(
            [60, 900, HOURS, 2 * HOURS, 6 * HOURS, 12 * HOURS, DAYS, 2 * DAYS, 7 * DAYS]
        ),
        st.integers(-5 * 24, 5 * 24),
    )
    def test_buckets_equal_a_brute_force_calculation_at_any_rollup_watermark(
        self, name, given, offset, length, step, hours_rolled
    ):
        zone, origin = ZoneInfo(name), CHANGES[name]
        device = DeviceFactory.create()
        create_keys(device, "environment.t")
        set_rollup_watermark(origin - 6 * DAY)
        readings = [(origin + n * SECOND, value) for n, value in given]
        storage.store(
            device,
            [
                make_reading(device, recorded_at=at, payload={"t": value, "n": n})
                for n, (at, value) in enumerate(readings)
            ],
            now=NOW,
        )
        start = origin + offset * SECOND
        end = start + min(length, 2000 * step) * SECOND
        expected = brute_force(readings, start, end, step, zone)
        for now in (origin - 6 * DAY, origin + hours_rolled * HOUR, origin + 10 * DAY):
            rollups.roll_up_closed_hours(now)
            found = query_series(device, start=start, end=end, step=step, zone=zone)
            values = found.columns["environment.t"]
            filled = [n for n, count in enumerate(values.count) if count]
            assert [values.count[n] for n in filled] == [len(bucket) for bucket in expected]
            for n, bucket in zip(filled, expected, strict=True):
                total = sum(value for _, value in bucket)
                least, most = (pick(value for _, value in bucket) for pick in (min, max))
                assert values.avg[n] == pytest.approx(total / len(bucket), abs=1e-3)
                assert (values.min[n], values.max[n]) == pytest.approx((least, most), rel=1e-9)
                assert all(found.timestamps[n] <= at.timestamp() for at, _ in bucket)
                assert all(
                    at.timestamp() < after
                    for at, _ in bucket
                    for after in found.timestamps[n + 1 :]
                )

    @given(
        st.lists(st.tuples(st.integers(0, 2 * DAYS), numbers), max_size=30),
        st.integers(0, 2 * DAYS),
        st.integers(1, DAYS),
        st.integers(1, 2000),
        st.sampled_from(sorted(CHANGES)),
    )
    def test_for_any_number_of_points_every_value_is_in_exactly_one_bucket(
        self, given, offset, length, points, name
    ):
        device = DeviceFactory.create()
        create_keys(device, "environment.t")
        storage.store(
            device,
            [
                make_reading(device, recorded_at=NOW + n * SECOND, payload={"t": value, "n": i})
                for i, (n, value) in enumerate(given)
            ],
            now=NOW,
        )
        rollups.roll_up_closed_hours(NOW + DAY)
        start, end = NOW + offset * SECOND, NOW + (offset + length) * SECOND
        found = series.query_series(
            device, keys=["environment.t"], start=start, end=end, points=points,
            zone=ZoneInfo(name), now=NOW + 10 * DAY,
        )  # fmt: skip
        within = [value for n, value in given if offset <= n < offset + length]
        assert sum(found.columns["environment.t"].count) == len(within)
        assert len(found.timestamps) <= points + 2


def test_booleans_count_as_zero_and_one_and_strings_are_ignored(device):
    store_readings(device, payloads=[{"t": value} for value in (True, False, True, "1", None)])
    assert query_columns(device) == [(pytest.approx(2 / 3), 0, 1, 3)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("environment.t", 1),
        ("environment.gps.lat", 2),
        ("environment.list.1", 4),
        ("environment.list.2.deep", 5),
        ("environment.0", 6),
        ("environment.a-b_c", 7),
        ("environment.sun.az", 9),
    ],
)
def test_a_key_selects_a_value_by_its_path_in_the_payload(device, key, value):
    payload = {
        "t": 1, "gps": {"lat": 2}, "list": [3, 4, {"deep": 5}], "0": 6, "a-b_c": 7, "x": {"t": 8},
        "sun.az": 9, "sun": {"az": 10},
    }  # fmt: skip
    store_readings(device, payloads=[payload])
    assert query_columns(device, key=key) == [(value, value, value, 1)]


@pytest.mark.parametrize("key", ["environment.none", "environment.t.t", "environment..", "other.t"])
def test_a_key_without_values_has_no_buckets(device, key):
    store_readings(device, payloads=[{"t": 1}])
    found = query_series(device, key=key)
    assert found.timestamps == []
    assert found.columns == {key: EMPTY}


def test_a_range_includes_its_start_and_excludes_its_end(device):
    store_readings(device, payloads=[{"t": number} for number in range(4)])
    found = query_columns(device, start=NOW + SECOND, end=NOW + 3 * SECOND, step=1)
    assert found == [(1, 1, 1, 1), (2, 2, 2, 1)]


def test_a_series_contains_readings_of_one_device_only(device):
    store_readings(DeviceFactory.create(), payloads=[{"t": 1}])
    assert query_series(device).timestamps == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "t",
        ".t",
        "environment.",
        "a b.t",
        "a.b c",
        "a.b\0",
        "a.b\n",
        "ä.t",
        "a.ä",
        "a.'",
        f"a.{'k' * 65}",
    ],
)
def test_an_invalid_key_is_rejected(device, key):
    with pytest.raises(series.InvalidKey):
        query_series(device, key=key)


def test_very_small_and_very_large_numbers_are_aggregated(device):
    store_readings(device, payloads=[{"t": value} for value in (1e30, -1e30, 5e-324)])
    assert query_columns(device) == [(pytest.approx(0, abs=1e15), -1e30, 1e30, 3)]


def test_numbers_are_rounded_to_ten_digits(device):
    store_readings(device, payloads=[{"t": 1 / 3}, {"t": 2e15 / 3}])
    assert query_columns(device, step=1) == [
        (0.3333333333, 0.3333333333, 0.3333333333, 1),
        (6.666666667e14, 6.666666667e14, 6.666666667e14, 1),
    ]


class TestGaps:
    """Gaps. The keys share their buckets; a device that sends every 10 s has a gap after 25 s."""

    @pytest.fixture
    def device(self, owner):
        return DeviceFactory.create(user=owner, expected_interval=10)

    def send(self, device, *seconds, **payload):
        for second in seconds:
            at = NOW + second * SECOND
            store_readings(device, recorded_at=at, payloads=[payload or {"t": 1}])

    def shown(self, device, step, keys=("environment.t",)):
        found = series.query_series_by_step(
            device, keys=keys, start=NOW - HOUR, end=NOW + DAY, step=step, zone=UTC
        )
        times = [t - int(NOW.timestamp()) for t in found.timestamps]
        return times, *([*found.columns[key].count] for key in keys)

    def test_empty_buckets_between_readings_in_their_interval_are_left_out(self, device):
        self.send(device, 0, 10, 21, 35)
        assert self.shown(device, 1) == ([0, 10, 21, 35], [1, 1, 1, 1])

    def test_a_gap_is_one_empty_bucket(self, device):
        self.send(device, 0, 10, 600)
        assert self.shown(device, 5) == ([0, 10, 15, 600], [1, 1, 0, 1])
        found = query_series(device, step=5).columns["environment.t"]
        assert [found.avg[2], found.min[2], found.max[2]] == [None] * 3

    def test_an_empty_hour_is_a_gap(self, device):
        self.send(device, 0, 2 * HOURS)
        assert self.shown(device, HOURS) == ([0, HOURS, 2 * HOURS], [1, 0, 1])

    def test_a_key_without_a_value_in_a_bucket_of_another_key_has_count_zero(self, device):
        self.send(device, 0, 20, t=1, u=2)
        self.send(device, 10, u=3)
        keys = ("environment.t", "environment.u")
        assert self.shown(device, 5, keys) == ([0, 10, 20], [1, 0, 1], [1, 1, 1])
