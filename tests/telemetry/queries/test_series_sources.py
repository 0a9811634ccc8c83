"""The step of a series and its source: readings, hourly or daily rollups."""

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
from tests.telemetry.rollup_state import create_keys, enqueue_hours, set_rollup_watermark
from tests.telemetry.series_queries import DAYS, HOURS, query_columns


class TestSteps:
    """The step: as requested, or the finest that is available."""

    END = datetime(2025, 6, 10, tzinfo=UTC)

    @pytest.fixture
    def busy(self, device):
        """A device with 360 readings in every hour according to its rollups."""
        create_keys(device, "environment.t")
        create_keys(device, "environment.u")
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

    def test_a_day_or_less_is_read_from_readings(self, busy):
        assert self.step(busy, HOUR) == 5
        assert self.step(busy, DAY) == 120

    def test_a_range_with_too_many_readings_is_read_from_hours(self, busy):
        assert self.step(busy, 7 * DAY) == HOURS

    def test_a_range_with_few_readings_has_the_requested_step(self, device):
        assert self.step(device, 7 * DAY) == 15 * 60

    def test_a_day_with_too_many_readings_is_read_from_hours(self, busy):
        HourRollup.objects.update(count=36_000)
        assert self.step(busy, DAY) == HOURS

    def test_in_a_zone_with_a_half_hour_offset_the_step_is_two_hours(self, busy):
        assert self.step(busy, 30 * DAY) == HOURS
        assert self.step(busy, 30 * DAY, zone="Asia/Kolkata") == 2 * HOURS

    def test_the_step_is_as_coarse_as_the_rollups_that_retention_kept(self, device):
        half = self.END - 4 * DAY
        assert self.step(device, 7 * DAY, available_from=AvailableFrom(raw=half)) == HOURS
        assert (
            self.step(device, 7 * DAY, available_from=AvailableFrom(raw=half, hours=half)) == DAYS
        )
        assert self.step(device, 3 * DAY, available_from=AvailableFrom(raw=half, hours=half)) == 300

    def test_the_longest_possible_range_has_no_more_points_than_requested(self, device):
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
    """Deleted readings are replaced by their hours, deleted hours by their days."""

    @pytest.fixture
    def old(self, device):
        """A reading every half hour for ten days; the readings of the first five days are
        deleted.
        """
        self.start = floor(NOW, DAY) - 10 * DAY
        set_rollup_watermark(self.start)
        create_keys(device, "environment.t")
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
    def test_no_value_is_missing_or_counted_twice(self, old, zone, step):
        end = self.start + 10 * DAY
        for kept in (
            AvailableFrom(raw=self.gone),
            AvailableFrom(raw=self.gone, hours=self.start + 2 * DAY),
        ):
            if step < DAYS and kept.hours > self.start:
                continue
            HourRollup.objects.filter(bucket__lt=kept.hours).delete()
            found = query_columns(
                old, start=self.start, end=end, step=step, zone=ZoneInfo(zone), available_from=kept
            )
            assert sum(count for *_, count in found) == 480

    def test_an_hour_that_only_its_rollup_covers_belongs_to_the_range_of_its_middle(self, old):
        for minutes, expected in ((20, 4), (30, 4), (31, 2)):
            start = self.start + timedelta(minutes=minutes)
            end = start.replace(hour=2, minute=0)
            found = query_columns(
                old, start=start, end=end, available_from=AvailableFrom(raw=self.gone)
            )
            assert sum(count for *_, count in found) == expected

    def test_a_range_that_begins_with_the_oldest_reading_is_exact(self, old):
        found = query_columns(
            old,
            start=self.gone,
            end=self.gone + HOUR,
            step=60,
            available_from=AvailableFrom(raw=self.gone),
        )
        assert sum(count for *_, count in found) == 2


class Plans:
    """Collects the tables that were read and their kinds of scans."""

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
    """Plans over four months: the cost of charts does not grow with the size of the table."""

    START, END = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 9, 30, tzinfo=UTC)

    @pytest.fixture
    def busy(self, device):
        others = [one.pk for one in DeviceFactory.create_batch(4)]
        create_keys(device, "environment.t")
        create_keys(device, "environment.u")
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
        set_rollup_watermark(self.END - HOUR)
        enqueue_hours(device, [self.START + n * timedelta(minutes=90) for n in range(121 * 16)])
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
        assert found.timestamps
        return found, plans

    def test_hours_are_read_from_rollups_and_only_the_ends_of_the_range_from_readings(self, busy):
        start, end = self.START + timedelta(minutes=30), self.END - timedelta(minutes=10)
        found, plans = self.explained(busy, 6 * HOURS, start, end, "Europe/Brussels")
        assert found.source == "hour"
        assert plans.months() == {"telemetry_2025_06", "telemetry_2025_09"}

    def test_a_range_of_whole_hours_reads_no_readings(self, busy):
        _, plans = self.explained(busy, HOURS, self.START, self.START + 40 * DAY)
        assert plans.months() == set()

    def test_days_in_utc_are_read_from_daily_rollups(self, busy):
        found, plans = self.explained(busy, DAYS, self.START, self.START + 100 * DAY)
        assert found.source == "day"
        assert {table for table, _ in plans.scans} == {"telemetry_rolled_until", "telemetry_days"}

    def test_readings_are_read_only_from_the_months_of_the_range(self, busy):
        start = datetime(2025, 7, 30, tzinfo=UTC)
        _, plans = self.explained(busy, 60, start, start + DAY)
        assert plans.months() == {"telemetry_2025_07"}

    def test_in_a_half_hour_zone_readings_are_read_only_at_the_boundaries_of_buckets(self, busy):
        start = datetime(2025, 7, 10, tzinfo=UTC)
        found, plans = self.explained(busy, DAYS, start, start + 15 * DAY, "Asia/Kolkata")
        assert plans.months() == {"telemetry_2025_07"}
        assert sum(found.columns["environment.t"].count) == 15 * 16


def test_a_series_takes_two_queries_and_a_third_to_count_readings(
    device, django_assert_num_queries
):
    keys = [f"environment.{letter}" for letter in "abcdefghijklmnopqrst"]
    for length, queries in ((DAY, 3), (400 * DAY, 2)):
        with django_assert_num_queries(queries):
            series.query_series(device, keys=keys, start=NOW - length, end=NOW, points=500, now=NOW)


def test_hourly_and_daily_rollups_contain_the_aggregates_of_their_readings(device):
    set_rollup_watermark(NOW - 3 * DAY)
    create_keys(device, "environment.t")
    for n in range(3):
        store_readings(device, recorded_at=NOW - n * DAY, payloads=[{"t": n}, {"t": 3}])
    rollups.roll_up_closed_hours(NOW + DAY)
    assert DayRollup.objects.count() == HourRollup.objects.count() == 3
    found = query_columns(device, start=NOW - 5 * DAY, end=NOW + DAY, step=DAYS)
    assert found == [(2.5, 2, 3, 2), (2, 1, 3, 2), (1.5, 0, 3, 2)]
