import math
from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from telemetry import ingest, series
from tests.factories import NOW, DeviceFactory, make_reading, store_readings

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
instants = st.timedeltas(timedelta(0), timedelta(days=36_500)).map(series.ORIGIN.__add__)


def ask(device, key="environment.t", start=NOW, end=NOW + HOUR, step=HOUR):
    return series.series(device, key=key, start=start, end=end, step=step)


def columns(device, **how):
    found = ask(device, **how)
    return list(zip(found.avg, found.min, found.max, found.count, strict=True))


def brute_force(readings, start, end, step):
    buckets = defaultdict(list)
    for at, value in readings:
        number = {False: 0, True: 1}.get(value) if isinstance(value, bool) else value
        if start <= at < end and isinstance(number, int | float):
            bucket = series.ORIGIN + (at - series.ORIGIN) // step * step
            buckets[int(bucket.timestamp())].append(number)
    return sorted(buckets.items())


class TestBuckets(TestCase):
    @given(
        st.lists(
            st.tuples(
                st.integers(-5000, 5000),
                st.integers(-1000, 1000)
                | st.floats(-1e6, 1e6)
                | st.booleans()
                | st.sampled_from(["text", "1", None, [], {}, [1]]),
            ),
            max_size=25,
        ),
        st.integers(-5000, 4000),
        st.integers(1, 6000),
        st.sampled_from([1, 5, 60, 900, 3600]),
    )
    def test_they_are_those_of_brute_force(self, given, offset, length, step):
        device = DeviceFactory.create()
        readings = [(NOW + number * SECOND, value) for number, value in given]
        ingest.store(
            device,
            [
                make_reading(device, recorded_at=at, payload={"t": value, "n": number})
                for number, (at, value) in enumerate(readings)
            ],
            now=NOW,
        )
        how = {
            "start": NOW + offset * SECOND,
            "end": NOW + (offset + length) * SECOND,
            "step": step * SECOND,
        }
        found = ask(device, **how)
        expected = brute_force(readings, **how)
        assert found.t == [bucket for bucket, _ in expected]
        assert found.count == [len(values) for _, values in expected]
        assert found.min == [min(values) for _, values in expected]
        assert found.max == [max(values) for _, values in expected]
        for average, (_, values) in zip(found.avg, expected, strict=True):
            assert math.isclose(average, sum(values) / len(values), abs_tol=1e-6)


def test_booleans_count_as_zero_and_one_and_texts_not_at_all(device):
    store_readings(device, payloads=[{"t": value} for value in (True, False, True, "1", None)])
    assert columns(device) == [(pytest.approx(2 / 3), 0, 1, 3)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("environment.t", 1),
        ("environment.gps.lat", 2),
        ("environment.list.1", 4),
        ("environment.list.2.deep", 5),
        ("environment.0", 6),
        ("environment.a-b_c", 7),
    ],
)
def test_a_path_leads_into_the_payload(device, key, value):
    payload = {
        "t": 1, "gps": {"lat": 2}, "list": [3, 4, {"deep": 5}], "0": 6, "a-b_c": 7, "x": {"t": 8},
    }  # fmt: skip
    store_readings(device, payloads=[payload])
    assert columns(device, key=key) == [(value, value, value, 1)]


@pytest.mark.parametrize("key", ["environment.none", "environment.t.t", "environment..", "other.t"])
def test_where_there_is_nothing_there_are_no_buckets(device, key):
    store_readings(device, payloads=[{"t": 1}])
    assert ask(device, key=key) == series.EMPTY


def test_a_range_includes_its_start_and_excludes_its_end(device):
    store_readings(device, payloads=[{"t": number} for number in range(4)])
    found = columns(device, start=NOW + SECOND, end=NOW + 3 * SECOND, step=SECOND)
    assert found == [(1, 1, 1, 1), (2, 2, 2, 1)]


def test_a_series_is_of_one_device(device):
    store_readings(DeviceFactory.create(), payloads=[{"t": 1}])
    assert ask(device) == series.EMPTY


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
def test_a_key_of_another_shape_is_refused(device, key):
    with pytest.raises(series.InvalidKey):
        ask(device, key=key)


def test_very_small_and_very_large_numbers_are_drawn(device):
    store_readings(device, payloads=[{"t": value} for value in (1e30, -1e30, 5e-324)])
    assert columns(device) == [(pytest.approx(0, abs=1e15), -1e30, 1e30, 3)]


@given(instants, st.timedeltas(SECOND, timedelta(days=36_500)), st.integers(1, 2000))
def test_a_range_takes_no_more_buckets_than_asked_for(start, length, points):
    step = series.resolution(start, start + length, points)
    assert math.ceil(length / step) <= points
    first = (start - series.ORIGIN) // step
    last = (start + length - timedelta(microseconds=1) - series.ORIGIN) // step
    assert last - first + 1 <= points + 1


@given(instants, st.timedeltas(SECOND, timedelta(days=36_500)), st.integers(1, 2000))
def test_no_shorter_round_bucket_would_do(start, length, points):
    step = series.resolution(start, start + length, points)
    shorter = [one for one in series.STEPS if timedelta(seconds=one) < step]
    if shorter:
        assert timedelta(seconds=shorter[-1]) * points < length


def test_a_bucket_is_never_shorter_than_a_second():
    assert series.resolution(NOW, NOW + SECOND, 2000) == SECOND


def test_buckets_of_a_week_begin_on_mondays():
    assert series.ORIGIN.isoweekday() == 1
