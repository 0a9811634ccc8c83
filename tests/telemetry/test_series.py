import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from telemetry import ingest, partitions, rollups, series
from telemetry.models import DayRollup, HourRollup
from telemetry.rollups import DAY, HOUR, Kept, floor
from telemetry.series import Columns
from tests.factories import NOW, DeviceFactory, make_reading, store_readings
from tests.telemetry.rolling import mark, number, register, set_rolled_until

SECOND = timedelta(seconds=1)
HOURS, DAYS = 3600, 24 * 3600
EMPTY = Columns([], [], [], [])


def ask(device, key="environment.t", start=NOW, end=NOW + HOUR, step=HOURS, **how):
    return series.in_steps(device, keys=[key], start=start, end=end, step=step, **how)


def columns(device, key="environment.t", **how):
    found = ask(device, key, **how).columns[key]
    return list(zip(found.avg, found.min, found.max, found.count, strict=True))


def place_of(at, start, step, zone):
    """What tells the bucket of a reading from the next, told by the clock."""
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
"""By zone, a day around which its clocks change, if they do."""
numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.booleans()
others = st.sampled_from(["text", "1", None, [], {}, [1]])


class TestBuckets(TestCase):
    @classmethod
    def setUpTestData(cls):
        partitions.ensure(partitions.month_of(datetime(2025, n, 1, tzinfo=UTC)) for n in (3, 4, 10))

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
    def test_they_are_those_of_brute_force_whatever_is_rolled_up(
        self, name, given, offset, length, step, hours_rolled
    ):
        zone, origin = ZoneInfo(name), CHANGES[name]
        device = DeviceFactory.create()
        register(device, "environment.t")
        set_rolled_until(origin - 6 * DAY)
        readings = [(origin + n * SECOND, value) for n, value in given]
        ingest.store(
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
            found = ask(device, start=start, end=end, step=step, zone=zone)
            values = found.columns["environment.t"]
            filled = [n for n, count in enumerate(values.count) if count]
            assert [values.count[n] for n in filled] == [len(bucket) for bucket in expected]
            for n, bucket in zip(filled, expected, strict=True):
                total = sum(value for _, value in bucket)
                least, most = (pick(value for _, value in bucket) for pick in (min, max))
                assert values.avg[n] == pytest.approx(total / len(bucket), abs=1e-3)
                assert (values.min[n], values.max[n]) == pytest.approx((least, most), rel=1e-9)
                assert all(found.t[n] <= at.timestamp() for at, _ in bucket)
                assert all(at.timestamp() < after for at, _ in bucket for after in found.t[n + 1 :])

    @given(
        st.lists(st.tuples(st.integers(0, 2 * DAYS), numbers), max_size=30),
        st.integers(0, 2 * DAYS),
        st.integers(1, DAYS),
        st.integers(1, 2000),
        st.sampled_from(sorted(CHANGES)),
    )
    def test_however_many_points_are_asked_for_every_value_is_in_one(
        self, given, offset, length, points, name
    ):
        device = DeviceFactory.create()
        register(device, "environment.t")
        ingest.store(
            device,
            [
                make_reading(device, recorded_at=NOW + n * SECOND, payload={"t": value, "n": i})
                for i, (n, value) in enumerate(given)
            ],
            now=NOW,
        )
        rollups.roll_up_closed_hours(NOW + DAY)
        start, end = NOW + offset * SECOND, NOW + (offset + length) * SECOND
        found = series.series(
            device, keys=["environment.t"], start=start, end=end, points=points,
            zone=ZoneInfo(name), now=NOW + 10 * DAY,
        )  # fmt: skip
        within = [value for n, value in given if offset <= n < offset + length]
        assert sum(found.columns["environment.t"].count) == len(within)
        assert len(found.t) <= points + 2


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
        ("environment.sun.az", 9),
    ],
)
def test_a_path_leads_into_the_payload(device, key, value):
    payload = {
        "t": 1, "gps": {"lat": 2}, "list": [3, 4, {"deep": 5}], "0": 6, "a-b_c": 7, "x": {"t": 8},
        "sun.az": 9, "sun": {"az": 10},
    }  # fmt: skip
    store_readings(device, payloads=[payload])
    assert columns(device, key=key) == [(value, value, value, 1)]


@pytest.mark.parametrize("key", ["environment.none", "environment.t.t", "environment..", "other.t"])
def test_where_there_is_nothing_there_are_no_buckets(device, key):
    store_readings(device, payloads=[{"t": 1}])
    found = ask(device, key=key)
    assert found.t == []
    assert found.columns == {key: EMPTY}


def test_a_range_includes_its_start_and_excludes_its_end(device):
    store_readings(device, payloads=[{"t": number} for number in range(4)])
    found = columns(device, start=NOW + SECOND, end=NOW + 3 * SECOND, step=1)
    assert found == [(1, 1, 1, 1), (2, 2, 2, 1)]


def test_a_series_is_of_one_device(device):
    store_readings(DeviceFactory.create(), payloads=[{"t": 1}])
    assert ask(device).t == []


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


def test_numbers_are_shortened_to_ten_digits(device):
    store_readings(device, payloads=[{"t": 1 / 3}, {"t": 2e15 / 3}])
    assert columns(device, step=1) == [
        (0.3333333333, 0.3333333333, 0.3333333333, 1),
        (6.666666667e14, 6.666666667e14, 6.666666667e14, 1),
    ]


class TestGaps:
    """Keys share their buckets; a device that sends every 10 s is silent after 25 s."""

    @pytest.fixture
    def device(self, owner):
        return DeviceFactory.create(user=owner, expected_interval=10)

    def send(self, device, *seconds, **payload):
        for second in seconds:
            at = NOW + second * SECOND
            store_readings(device, recorded_at=at, payloads=[payload or {"t": 1}])

    def shown(self, device, step, keys=("environment.t",)):
        found = series.in_steps(
            device, keys=keys, start=NOW - HOUR, end=NOW + DAY, step=step, zone=UTC
        )
        times = [t - int(NOW.timestamp()) for t in found.t]
        return times, *([*found.columns[key].count] for key in keys)

    def test_buckets_between_readings_that_come_as_expected_are_left_out(self, device):
        self.send(device, 0, 10, 21, 35)
        assert self.shown(device, 1) == ([0, 10, 21, 35], [1, 1, 1, 1])

    def test_one_empty_bucket_stands_for_a_silence(self, device):
        self.send(device, 0, 10, 600)
        assert self.shown(device, 5) == ([0, 10, 15, 600], [1, 1, 0, 1])
        found = ask(device, step=5).columns["environment.t"]
        assert [found.avg[2], found.min[2], found.max[2]] == [None] * 3

    def test_an_empty_hour_is_a_silence(self, device):
        self.send(device, 0, 2 * HOURS)
        assert self.shown(device, HOURS) == ([0, HOURS, 2 * HOURS], [1, 0, 1])

    def test_a_key_has_none_where_only_another_has_a_value(self, device):
        self.send(device, 0, 20, t=1, u=2)
        self.send(device, 10, u=3)
        keys = ("environment.t", "environment.u")
        assert self.shown(device, 5, keys) == ([0, 10, 20], [1, 0, 1], [1, 1, 1])


class TestSteps:
    """How fine a series is: as asked for, as far as it can be had."""

    END = datetime(2025, 6, 10, tzinfo=UTC)

    @pytest.fixture
    def busy(self, device):
        """A device of whose every hour 360 readings are said to be rolled up."""
        register(device, "environment.t")
        register(device, "environment.u")
        HourRollup.objects.bulk_create(
            HourRollup(
                device=device, telemetry_type="environment", key=key,
                bucket=self.END - n * HOUR, count=360, sum=1, min=1, max=1,
            )
            for n in range(24 * 60) for key in ("t", "u")
        )  # fmt: skip
        return device

    def step(self, device, length, points=1000, zone="UTC", **how):
        found = series.series(
            device, keys=["environment.t", "environment.u"], start=self.END - length, end=self.END,
            points=points, zone=ZoneInfo(zone), now=NOW, **how,
        )  # fmt: skip
        return found.resolution

    def test_a_day_or_less_is_read_from_the_readings(self, busy):
        assert self.step(busy, HOUR) == 5
        assert self.step(busy, DAY) == 120

    def test_where_there_is_too_much_to_read_hours_will_do(self, busy):
        assert self.step(busy, 7 * DAY) == HOURS

    def test_where_there_is_not_it_is_as_fine_as_wanted(self, device):
        assert self.step(device, 7 * DAY) == 15 * 60

    def test_even_a_day_can_be_too_much(self, busy):
        HourRollup.objects.update(count=36_000)
        assert self.step(busy, DAY) == HOURS

    def test_in_zones_between_hours_it_is_coarser(self, busy):
        assert self.step(busy, 30 * DAY) == HOURS
        assert self.step(busy, 30 * DAY, zone="Asia/Kolkata") == 2 * HOURS

    def test_it_is_as_coarse_as_what_retention_has_left(self, device):
        half = self.END - 4 * DAY
        assert self.step(device, 7 * DAY, kept=Kept(raw=half)) == HOURS
        assert self.step(device, 7 * DAY, kept=Kept(raw=half, hours=half)) == DAYS
        assert self.step(device, 3 * DAY, kept=Kept(raw=half, hours=half)) == 300

    def test_all_of_time_has_no_more_points_than_any(self, device):
        found = series.series(
            device, keys=["a.b"], start=datetime.min.replace(tzinfo=UTC),
            end=datetime.max.replace(tzinfo=UTC), points=1, now=NOW, zone=ZoneInfo("Asia/Tokyo"),
        )  # fmt: skip
        assert found.resolution > 25 * 365 * DAYS

    def test_a_range_in_the_future_is_empty(self, device):
        found = series.series(
            device, keys=["a.b"], start=NOW + 9 * DAY, end=NOW + 10 * DAY, points=10, now=NOW
        )
        assert found.columns == {"a.b": Columns()}


class TestRetention:
    """Where readings are gone, their hours are drawn; where those are, their days."""

    @pytest.fixture
    def old(self, device):
        """A reading every half an hour over ten days; the readings of the first five are gone."""
        self.start = floor(NOW, DAY) - 10 * DAY
        set_rolled_until(self.start)
        register(device, "environment.t")
        batch = [
            make_reading(device, recorded_at=self.start + n * HOUR / 2, payload={"t": n})
            for n in range(480)
        ]
        ingest.store(device, batch, now=NOW)
        rollups.roll_up_closed_hours(NOW)
        self.gone = self.start + 5 * DAY + timedelta(hours=6, minutes=20)
        device.readings.filter(recorded_at__lt=self.gone).delete()
        return device

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Brussels", "Asia/Kolkata"])
    @pytest.mark.parametrize("step", [HOURS, 6 * HOURS, DAYS])
    def test_no_value_is_lost_or_counted_twice(self, old, zone, step):
        end = self.start + 10 * DAY
        for kept in (Kept(raw=self.gone), Kept(raw=self.gone, hours=self.start + 2 * DAY)):
            if step < DAYS and kept.hours > self.start:
                continue
            HourRollup.objects.filter(bucket__lt=kept.hours).delete()
            found = columns(
                old, start=self.start, end=end, step=step, zone=ZoneInfo(zone), kept=kept
            )
            assert sum(count for *_, count in found) == 480

    def test_an_hour_that_cannot_be_divided_is_where_its_middle_is(self, old):
        for minutes, expected in ((20, 4), (30, 4), (31, 2)):
            start = self.start + timedelta(minutes=minutes)
            end = start.replace(hour=2, minute=0)
            found = columns(old, start=start, end=end, kept=Kept(raw=self.gone))
            assert sum(count for *_, count in found) == expected

    def test_a_range_that_begins_when_readings_do_is_exact(self, old):
        found = columns(
            old, start=self.gone, end=self.gone + HOUR, step=60, kept=Kept(raw=self.gone)
        )
        assert sum(count for *_, count in found) == 2


class Plans:
    """Which tables were really read, and how."""

    def __init__(self):
        self.scans = []

    def __call__(self, execute, sql, params, many, context):
        cursor = context["cursor"]
        execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params, many, context)
        found = cursor.fetchone()[0]
        self._collect((found if isinstance(found, list) else json.loads(found))[0]["Plan"])
        return execute(sql, params, many, context)

    def _collect(self, node):
        if node.get("Actual Loops") and "Relation Name" in node:
            self.scans.append((node["Relation Name"], node["Node Type"]))
        for inner in node.get("Plans", []):
            self._collect(inner)

    def months(self):
        return {table for table, _ in self.scans if table.startswith("telemetry_20")}


class TestPlans:
    """What makes charts fast at any size, told by the plans over four months."""

    START, END = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 9, 30, tzinfo=UTC)

    @pytest.fixture
    def busy(self, device):
        others = [one.pk for one in DeviceFactory.create_batch(4)]
        register(device, "environment.t")
        register(device, "environment.u")
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO telemetry
                SELECT gen_random_uuid(), device, 'environment', '{"t": 1, "u": 2}', at, at
                FROM unnest(%s::uuid[]) AS device,
                     generate_series(%s::timestamptz, %s, interval '90 minutes') AS at
                """,
                [[device.pk, *others], self.START, self.END],
            )
            cursor.execute("ANALYZE telemetry")
        set_rolled_until(self.END - HOUR)
        mark(device, [self.START + n * timedelta(minutes=90) for n in range(121 * 16)])
        rollups.drain()
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE telemetry_hours, telemetry_days")
        return device

    def explained(self, device, step, start, end, zone="UTC"):
        plans = Plans()
        with connection.execute_wrapper(plans):
            found = series.in_steps(
                device, keys=["environment.t", "environment.u"], start=start, end=end, step=step,
                zone=ZoneInfo(zone),
            )  # fmt: skip
        scans = {kind for table, kind in plans.scans if table.startswith("telemetry_20")}
        assert "Seq Scan" not in scans
        assert found.t
        return found, plans

    def test_hours_are_read_from_rollups_and_only_the_ends_from_readings(self, busy):
        start, end = self.START + timedelta(minutes=30), self.END - timedelta(minutes=10)
        found, plans = self.explained(busy, 6 * HOURS, start, end, "Europe/Brussels")
        assert found.source == "hour"
        assert plans.months() == {"telemetry_2025_06", "telemetry_2025_09"}

    def test_whole_hours_need_no_readings_at_all(self, busy):
        _, plans = self.explained(busy, HOURS, self.START, self.START + 40 * DAY)
        assert plans.months() == set()

    def test_days_of_utc_are_read_from_days(self, busy):
        found, plans = self.explained(busy, DAYS, self.START, self.START + 100 * DAY)
        assert found.source == "day"
        assert {table for table, _ in plans.scans} == {"telemetry_rolled_until", "telemetry_days"}

    def test_of_readings_only_the_months_of_the_range_are_read(self, busy):
        start = datetime(2025, 7, 30, tzinfo=UTC)
        _, plans = self.explained(busy, 60, start, start + DAY)
        assert plans.months() == {"telemetry_2025_07"}

    def test_between_hours_only_those_at_boundaries_are_read(self, busy):
        start = datetime(2025, 7, 10, tzinfo=UTC)
        found, plans = self.explained(busy, DAYS, start, start + 15 * DAY, "Asia/Kolkata")
        assert plans.months() == {"telemetry_2025_07"}
        assert sum(found.columns["environment.t"].count) == 15 * 16


def test_a_series_is_two_queries_and_a_third_to_find_out_how_much_there_is(
    device, django_assert_num_queries
):
    keys = [f"environment.{letter}" for letter in "abcdefghijklmnopqrst"]
    for length, queries in ((DAY, 3), (400 * DAY, 2)):
        with django_assert_num_queries(queries):
            series.series(device, keys=keys, start=NOW - length, end=NOW, points=500, now=NOW)


def test_days_and_hours_have_what_their_readings_come_to(device):
    set_rolled_until(NOW - 3 * DAY)
    register(device, "environment.t")
    for n in range(3):
        store_readings(device, recorded_at=NOW - n * DAY, payloads=[{"t": n}, {"t": 3}])
    rollups.roll_up_closed_hours(NOW + DAY)
    assert DayRollup.objects.count() == HourRollup.objects.count() == 3
    found = columns(device, start=NOW - 5 * DAY, end=NOW + DAY, step=DAYS)
    assert found == [(2.5, 2, 3, 2), (2, 1, 3, 2), (1.5, 0, 3, 2)]
