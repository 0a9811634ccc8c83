"""How fine a series is, and what it is made of: readings, their hours or their days."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from telemetry.ingest import storage
from telemetry.models import DayRollup, HourRollup
from telemetry.queries import series
from telemetry.queries.series import Columns
from telemetry.rollups import build as rollups
from telemetry.rollups.build import DAY, HOUR, AvailableFrom, floor
from tests.factories import NOW, DeviceFactory, make_reading, store_readings
from tests.telemetry.drawn import DAYS, HOURS, columns
from tests.telemetry.rolling import mark, register, set_rolled_until


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
        found = series.query_series(
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
        assert self.step(device, 7 * DAY, kept=AvailableFrom(raw=half)) == HOURS
        assert self.step(device, 7 * DAY, kept=AvailableFrom(raw=half, hours=half)) == DAYS
        assert self.step(device, 3 * DAY, kept=AvailableFrom(raw=half, hours=half)) == 300

    def test_all_of_time_has_no_more_points_than_any(self, device):
        found = series.query_series(
            device, keys=["a.b"], start=datetime.min.replace(tzinfo=UTC),
            end=datetime.max.replace(tzinfo=UTC), points=1, now=NOW, zone=ZoneInfo("Asia/Tokyo"),
        )  # fmt: skip
        assert found.resolution > 25 * 365 * DAYS

    def test_a_range_in_the_future_is_empty(self, device):
        found = series.query_series(
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
        storage.store(device, batch, now=NOW)
        rollups.roll_up_closed_hours(NOW)
        self.gone = self.start + 5 * DAY + timedelta(hours=6, minutes=20)
        device.readings.filter(recorded_at__lt=self.gone).delete()
        return device

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Brussels", "Asia/Kolkata"])
    @pytest.mark.parametrize("step", [HOURS, 6 * HOURS, DAYS])
    def test_no_value_is_lost_or_counted_twice(self, old, zone, step):
        end = self.start + 10 * DAY
        for kept in (
            AvailableFrom(raw=self.gone),
            AvailableFrom(raw=self.gone, hours=self.start + 2 * DAY),
        ):
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
            found = columns(old, start=start, end=end, kept=AvailableFrom(raw=self.gone))
            assert sum(count for *_, count in found) == expected

    def test_a_range_that_begins_when_readings_do_is_exact(self, old):
        found = columns(
            old, start=self.gone, end=self.gone + HOUR, step=60, kept=AvailableFrom(raw=self.gone)
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
        rollups.process_queue()
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE telemetry_hours, telemetry_days")
        return device

    def explained(self, device, step, start, end, zone="UTC"):
        plans = Plans()
        with connection.execute_wrapper(plans):
            found = series.query_series_by_step(
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
            series.query_series(device, keys=keys, start=NOW - length, end=NOW, points=500, now=NOW)


def test_days_and_hours_have_what_their_readings_come_to(device):
    set_rolled_until(NOW - 3 * DAY)
    register(device, "environment.t")
    for n in range(3):
        store_readings(device, recorded_at=NOW - n * DAY, payloads=[{"t": n}, {"t": 3}])
    rollups.roll_up_closed_hours(NOW + DAY)
    assert DayRollup.objects.count() == HourRollup.objects.count() == 3
    found = columns(device, start=NOW - 5 * DAY, end=NOW + DAY, step=DAYS)
    assert found == [(2.5, 2, 3, 2), (2, 1, 3, 2), (1.5, 0, 3, 2)]
