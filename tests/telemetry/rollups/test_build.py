"""Hourly and daily rollups: closed hours, the queue, and rebuilding."""

from datetime import timedelta
from importlib import import_module
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from devices import services as device_services
from telemetry.ingest import storage
from telemetry.models import DayRollup, HourRollup, Key, Telemetry
from telemetry.retention import rules as retention
from telemetry.retention.rules import Cutoffs
from telemetry.rollups import build as rollups
from telemetry.rollups.build import DAY, HOUR, floor
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, make_reading, store_reading
from tests.stopping import stop_after
from tests.telemetry.rollup_state import (
    brute_force,
    create_keys,
    empty_queue,
    enqueue_hours,
    queue_size,
    set_rollup_watermark,
    stored_rollups,
)

MINUTE = timedelta(minutes=1)
TODAY = floor(NOW, DAY)


@pytest.fixture(autouse=True)
def _resets_the_watermark(django_db_setup, django_db_blocker):
    """Reset it also after tests that commit: the table has no model and is not emptied."""
    yield
    with django_db_blocker.unblock():
        set_rollup_watermark(NOW)


@pytest.fixture
def watched(device):
    """A device with one registered key, and a watermark at the beginning of the day."""
    set_rollup_watermark(TODAY)
    create_keys(device, "environment.t")
    return device


def reading(device, at, value=1.0):
    return make_reading(device, recorded_at=at, payload={"t": value})


def hours(device, key="environment.t"):
    return stored_rollups(HourRollup, device, key)


def days(device, key="environment.t"):
    return stored_rollups(DayRollup, device, key)


values = st.integers(-5, 5) | st.floats(-100, 100) | st.booleans() | st.sampled_from(["1", None])
actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("store"),
            st.lists(st.tuples(st.integers(0, 60 * 60), values), min_size=1, max_size=6),
        ),
        st.tuples(st.just("again"), st.randoms(use_true_random=False)),
        st.tuples(st.just("delete"), st.integers(0, 50)),
        st.tuples(st.just("drain"), st.none()),
        st.tuples(st.just("roll up"), st.integers(0, 40)),
    ),
    max_size=12,
)


class TestAnySequence(TestCase):
    @given(actions)
    def test_after_any_sequence_of_actions_the_rollups_equal_a_brute_force_calculation(
        self, actions
    ):
        set_rollup_watermark(TODAY)
        device, other = DeviceFactory.create_batch(2)
        for one in (device, other):
            create_keys(one, "environment.t")
        now, there, serial = TODAY, {}, count()
        for action, how in actions:
            if action == "store":
                batch = [
                    make_reading(
                        device,
                        recorded_at=TODAY + minute * MINUTE,
                        payload={"t": value, "n": next(serial)},
                    )
                    for minute, value in how
                ]
                for one, (_, value) in zip(batch, how, strict=True):
                    there[one.id] = one, value
                storage.store(device, [*batch, *batch[:2]], now=now)
            elif action == "again":
                batch = [one for one, _ in there.values()]
                how.shuffle(batch)
                storage.store(device, batch, now=now)
            elif action == "delete" and there:
                one, _ = there.pop(sorted(there)[how % len(there)])
                Telemetry.objects.filter(id=one.id, recorded_at=one.recorded_at).delete()
                enqueue_hours(device, [one.recorded_at])
            elif action == "drain":
                rollups.process_queue()
            elif action == "roll up":
                now += how * 15 * MINUTE
                rollups.roll_up_closed_hours(now)
        rollups.roll_up_closed_hours(now := TODAY + 3 * DAY)
        rollups.process_queue()
        kept = [(one.recorded_at, value) for one, value in there.values()]
        for model, unit in ((HourRollup, HOUR), (DayRollup, DAY)):
            found = stored_rollups(model, device, "environment.t")
            expected = brute_force(kept, unit)
            assert found.keys() == expected.keys()
            for bucket in expected:
                assert found[bucket] == pytest.approx(expected[bucket], abs=1e-9)
        assert not HourRollup.objects.filter(device=other).exists()
        assert queue_size() == 0


class TestClosedHours:
    def test_an_hour_is_rolled_up_ten_minutes_after_its_end(self, watched):
        store_reading(watched, recorded_at=TODAY + 59 * MINUTE, payload={"t": 3})
        end = TODAY + HOUR
        assert rollups.roll_up_closed_hours(end + 10 * MINUTE - timedelta.resolution) == 0
        assert hours(watched) == {}
        assert rollups.roll_up_closed_hours(end + 10 * MINUTE) == 1
        assert hours(watched) == {TODAY: (1, 3, 3, 3)}
        assert rollups.get_rollup_watermark() == end
        assert rollups.roll_up_closed_hours(end + 10 * MINUTE) == 0

    def test_after_a_pause_all_closed_hours_are_rolled_up(self, watched, monkeypatch):
        monkeypatch.setattr(rollups, "BATCH_SIZE", 7)
        others = DeviceFactory.create_batch(2)
        for device in (watched, *others):
            create_keys(device, "environment.t")
            batch = [reading(device, TODAY + n * HOUR) for n in range(0, 60, 7)]
            storage.store(device, batch, now=NOW)
        assert rollups.roll_up_closed_hours(TODAY + 60 * HOUR + 10 * MINUTE) == 60
        for device in (watched, *others):
            assert sorted(hours(device)) == [TODAY + n * HOUR for n in range(0, 60, 7)]
            assert sorted(days(device)) == [TODAY, TODAY + DAY, TODAY + 2 * DAY]

    @pytest.mark.parametrize("batches", range(8))
    def test_a_stopped_run_leaves_whole_days_and_the_next_run_continues(
        self, watched, monkeypatch, batches
    ):
        monkeypatch.setattr(rollups, "BATCH_SIZE", 10)
        storage.store(watched, [reading(watched, TODAY + n * HOUR) for n in range(48)], now=NOW)
        empty_queue()
        end = TODAY + 48 * HOUR + 10 * MINUTE
        rolled = rollups.roll_up_closed_hours(end, should_stop=stop_after(batches))
        assert rolled == (0, 0, 0, 24, 24, 24, 48, 48)[batches]
        assert rollups.get_rollup_watermark() == TODAY + rolled * HOUR
        assert rollups.roll_up_closed_hours(end) == 48 - rolled
        assert len(hours(watched)) == 48
        assert {day: values[0] for day, values in days(watched).items()} == {
            TODAY: 24,
            TODAY + DAY: 24,
        }

    def test_after_the_clock_went_back_nothing_is_rolled_up(self, watched):
        set_rollup_watermark(TODAY + DAY)
        assert rollups.roll_up_closed_hours(TODAY) == 0
        assert rollups.get_rollup_watermark() == TODAY + DAY

    @pytest.mark.django_db(transaction=True)
    def test_after_an_error_the_watermark_is_unchanged_and_the_hours_are_rolled_up_later(
        self, watched, monkeypatch
    ):
        store_reading(watched, recorded_at=TODAY, payload={"t": 3})
        with monkeypatch.context() as broken:
            broken.setattr(rollups, "BUILD_DAYS_SQL", "SELECT 1/0 -- %(devices)s %(buckets)s")
            with pytest.raises(Exception, match="division by zero"):
                rollups.roll_up_closed_hours(NOW)
        assert rollups.get_rollup_watermark() == TODAY
        rollups.roll_up_closed_hours(NOW)
        assert hours(watched) == days(watched) == {TODAY: (1, 3, 3, 3)}


class TestIdleDevices:
    """Devices that send nothing cost almost no work."""

    @pytest.fixture
    def rolled_up_hours(self):
        """The hours that each statement rolls up, with their devices."""
        found = []

        def record(execute, sql, params, many, context):
            if sql == rollups.BUILD_HOURS_SQL:
                found.append(list(zip(params["devices"], params["buckets"], strict=True)))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(record):
            yield found

    def test_only_hours_with_readings_are_rolled_up(self, watched, rolled_up_hours):
        DeviceFactory.create_batch(5)
        at = [TODAY + 30 * MINUTE, TODAY + 5 * HOUR, TODAY + 25 * HOUR]
        storage.store(watched, [reading(watched, one) for one in at], now=NOW)
        empty_queue()
        rollups.roll_up_closed_hours(TODAY + 2 * DAY + HOUR)
        pairs = [(watched.pk, floor(one, HOUR)) for one in at]
        assert rolled_up_hours == [pairs[:2], pairs[2:]]
        assert sorted(hours(watched)) == [hour for _, hour in pairs]

    def test_the_number_of_queries_does_not_depend_on_the_number_of_idle_devices(
        self, watched, rolled_up_hours
    ):
        counts = []
        for more in (1, 30):
            idle = DeviceFactory.create_batch(more)
            retention.advance_watermarks({one.pk: Cutoffs(TODAY - DAY) for one in idle})
            set_rollup_watermark(TODAY)
            with CaptureQueriesContext(connection) as queries:
                rollups.roll_up_closed_hours(TODAY + HOUR + 10 * MINUTE)
            counts.append(len(queries))
        assert counts[0] == counts[1]
        assert rolled_up_hours == []

    @pytest.mark.parametrize("by", ["closing", "draining"])
    def test_only_the_watermarks_of_the_devices_of_a_batch_are_read(self, watched, monkeypatch, by):
        idle = DeviceFactory.create_batch(3)
        retention.advance_watermarks({one.pk: Cutoffs(TODAY - DAY) for one in [watched, *idle]})
        read = []
        horizons = retention.get_watermarks
        monkeypatch.setattr(
            retention, "get_watermarks", lambda devices: read.append(horizons(devices)) or read[-1]
        )
        storage.store(watched, [reading(watched, TODAY)], now=NOW)
        if by == "closing":
            empty_queue()
            rollups.roll_up_closed_hours(NOW)
        else:
            rollups.process_queue()
        assert read == [{watched.pk: Cutoffs(TODAY - DAY)}]

    def test_each_device_is_looked_up_in_the_primary_key_of_the_month(self, watched):
        devices = [watched, *DeviceFactory.create_batch(20)]
        for device in devices[:5]:
            batch = [reading(device, TODAY + n * MINUTE) for n in range(1000)]
            storage.store(device, batch, now=NOW)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE telemetry")
            cursor.execute(
                f"EXPLAIN {rollups.HOURS_WITH_READINGS}",
                {"devices": [one.pk for one in devices], "start": TODAY, "end": TODAY + DAY},
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert plan.count("using telemetry_2025_06_pkey") == 2, plan
        assert "Seq Scan" not in plan
        assert "telemetry_2025_07" not in plan


class TestQueue:
    def test_a_late_reading_changes_only_its_hour_and_day(self, watched):
        at = TODAY + 2 * HOUR
        storage.store(watched, [reading(watched, at, 1), reading(watched, at + HOUR, 5)], now=NOW)
        rollups.roll_up_closed_hours(NOW)
        store_reading(watched, recorded_at=at + HOUR + MINUTE, payload={"t": 100})
        empty_queue()
        storage.store(watched, [reading(watched, at + MINUTE, 2)], now=NOW)
        assert rollups.process_queue() == 1
        assert hours(watched) == {at: (2, 3, 1, 2), at + HOUR: (1, 5, 5, 5)}
        assert days(watched) == {TODAY: (3, 8, 1, 5)}

    def test_hours_and_days_without_readings_are_deleted(self, watched):
        row = store_reading(watched, recorded_at=TODAY, payload={"t": 3})
        rollups.roll_up_closed_hours(NOW)
        Telemetry.objects.filter(id=row.id, recorded_at=TODAY).delete()
        enqueue_hours(watched, [TODAY])
        rollups.process_queue()
        assert hours(watched) == days(watched) == {}

    def test_queued_hours_of_a_deleted_device_are_dropped(self, watched):
        storage.store(watched, [reading(watched, TODAY)], now=NOW)
        device_services.soft_delete(watched, now=NOW)
        assert rollups.process_queue() == 1
        assert hours(watched) == {}
        assert queue_size() == 0

    def test_all_queued_hours_are_processed_in_batches(self, watched, monkeypatch):
        monkeypatch.setattr(rollups, "BATCH_SIZE", 5)
        storage.store(
            watched, [reading(watched, TODAY + n * 20 * MINUTE) for n in range(34)], now=NOW
        )
        assert rollups.process_queue() == 11
        assert sum(found[0] for found in hours(watched).values()) == 33

    def test_a_stopped_run_leaves_the_other_hours_in_the_queue(self, watched, monkeypatch):
        monkeypatch.setattr(rollups, "BATCH_SIZE", 5)
        storage.store(
            watched, [reading(watched, TODAY + n * 20 * MINUTE) for n in range(34)], now=NOW
        )
        assert rollups.process_queue(should_stop=stop_after(1)) == 5
        assert queue_size() == 6
        assert rollups.process_queue() == 6
        assert sum(found[0] for found in hours(watched).values()) == 33

    def test_an_unchanged_rollup_is_not_written_again(self, watched):
        storage.store(watched, [reading(watched, TODAY)], now=NOW)
        rollups.process_queue()
        written = written_rows()
        enqueue_hours(watched, [TODAY])
        rollups.process_queue()
        assert written_rows() == written


def written_rows():
    """Return the physical position of each row, which changes when the row is written again."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT 1, ctid::text FROM telemetry_hours UNION SELECT 2, ctid::text
            FROM telemetry_days UNION SELECT 3, ctid::text FROM telemetry_keys"""
        )
        return sorted(cursor.fetchall())


class TestValues:
    PAYLOAD = {
        "gps.lat": 1, "gps": {"lat": 2, "lon": 3}, "list": [4, {"deep": 5}], "on": True,
        "off": False, "text": "6", "null": None, "empty": {}, "a.b": "text", "a": {"b": 7},
    }  # fmt: skip

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("gps.lat", 1),
            ("gps.lon", 3),
            ("list.0", 4),
            ("list.1.deep", 5),
            ("on", 1),
            ("off", 0),
            ("text", None),
            ("null", None),
            ("empty", None),
            ("gps", None),
            ("list", None),
            ("a.b", None),
            ("missing", None),
        ],
    )
    def test_a_key_is_looked_up_as_a_whole_name_and_then_as_a_path(self, watched, path, value):
        create_keys(watched, f"environment.{path}")
        store_reading(watched, recorded_at=TODAY, payload=self.PAYLOAD)
        rollups.roll_up_closed_hours(NOW)
        expected = {} if value is None else {TODAY: (1, value, value, value)}
        assert hours(watched, f"environment.{path}") == expected

    def test_unregistered_keys_are_not_rolled_up(self, watched):
        store_reading(watched, recorded_at=TODAY, payload={"t": 1, "u": 2})
        store_reading(watched, recorded_at=TODAY, telemetry_type="other", payload={"t": 1})
        Key.objects.exclude(telemetry_type="environment", key="t").delete()
        rollups.roll_up_closed_hours(NOW)
        rolled = HourRollup.objects.values_list("telemetry_type", "key")
        assert list(rolled) == [("environment", "t")]


class TestKeys:
    def test_the_first_and_the_last_hour_of_a_key_are_stored(self, watched):
        first = TODAY + 90 * MINUTE
        batch = [reading(watched, first), reading(watched, TODAY + 5 * HOUR)]
        storage.store(watched, batch, now=NOW)
        rollups.roll_up_closed_hours(NOW)
        storage.store(watched, [reading(watched, TODAY + 3 * HOUR)], now=NOW)
        rollups.process_queue()
        key = Key.objects.get()
        assert (key.since, key.last_hour) == (TODAY + HOUR, TODAY + 5 * HOUR)


class TestRetention:
    def test_an_hour_whose_readings_are_deleted_keeps_its_rollup(self, watched):
        storage.store(watched, [reading(watched, TODAY + n * HOUR) for n in range(6)], now=NOW)
        rollups.process_queue()
        before = hours(watched), days(watched)
        Telemetry.objects.filter(recorded_at__lt=TODAY + 3 * HOUR).delete()
        enqueue_hours(watched, [TODAY + n * HOUR for n in range(6)])
        retention.advance_watermarks({watched.pk: Cutoffs(raw=TODAY + 2 * HOUR + 30 * MINUTE)})
        rollups.process_queue()
        assert (hours(watched), days(watched)) == before

    def test_a_day_whose_hours_are_deleted_keeps_its_rollup(self, watched):
        storage.store(watched, [reading(watched, TODAY + n * HOUR) for n in range(6)], now=NOW)
        rollups.process_queue()
        HourRollup.objects.filter(bucket__lt=TODAY + 3 * HOUR).delete()
        storage.store(watched, [reading(watched, TODAY + 5 * HOUR + MINUTE)], now=NOW)
        retention.advance_watermarks({watched.pk: Cutoffs(hour=TODAY + 3 * HOUR)})
        rollups.process_queue()
        assert hours(watched)[TODAY + 5 * HOUR][0] == 2
        assert days(watched)[TODAY][0] == 6


@pytest.mark.django_db(transaction=True)
def test_late_readings_stored_while_the_queue_is_processed_are_all_counted():
    set_rollup_watermark(TODAY)
    one, two = DeviceFactory.create_batch(2)
    for device in (one, two):
        create_keys(device, "environment.t")
    rollups.roll_up_closed_hours(NOW)

    def send(device, first):
        def run():
            for number in range(first, 120, 3):
                storage.store(device, [reading(device, TODAY + number * MINUTE, number)], now=NOW)

        return run

    def process():
        for _ in range(30):
            rollups.process_queue()

    outcomes = run_concurrently(
        *[send(device, n) for device in (one, two) for n in range(3)], process, process
    )
    assert outcomes == [None] * 8
    rollups.process_queue()
    for device in (one, two):
        expected = {
            TODAY: (60, sum(range(60)), 0, 59),
            TODAY + HOUR: (60, sum(range(60, 120)), 60, 119),
        }
        assert hours(device) == expected
        assert days(device) == {TODAY: (120, sum(range(120)), 0, 119)}


class TestRebuild:
    def test_all_rollups_are_rebuilt_and_missing_keys_registered(self, device):
        set_rollup_watermark(TODAY + DAY)
        payload = {"t": 1, "gps": {"lat": 2.5, "list": [True]}, "text": "x", "ä": 3, "k" * 65: 4}
        row = store_reading(device, recorded_at=TODAY - 3 * DAY, payload=payload)
        Key.objects.all().delete()
        HourRollup.objects.create(
            device=device, telemetry_type="environment", key="t", bucket=TODAY, count=9, sum=9,
            min=9, max=9,
        )  # fmt: skip
        call_command("rebuild_rollups")
        assert list(Key.objects.order_by("key").values_list("key", "since", "last_hour")) == [
            (key, row.recorded_at, row.recorded_at)
            for key in ("gps.lat", "gps.list.0", "t", "text")
        ]
        assert hours(device) == days(device) == {TODAY - 3 * DAY: (1, 1, 1, 1)}
        assert hours(device, "environment.gps.lat") == {TODAY - 3 * DAY: (1, 2.5, 2.5, 2.5)}

    def test_hours_that_are_still_open_are_not_rebuilt(self, watched):
        store_reading(watched, recorded_at=TODAY + HOUR, payload={"t": 1})
        call_command("rebuild_rollups")
        assert hours(watched) == {}

    def test_a_rebuild_can_be_limited_to_a_device_and_to_some_days(self, watched):
        set_rollup_watermark(TODAY + DAY)
        other = DeviceFactory.create()
        for device in (watched, other):
            create_keys(device, "environment.t")
            storage.store(device, [reading(device, TODAY - n * DAY) for n in range(4)], now=NOW)
        span = [f"--from={TODAY - 2 * DAY:%Y-%m-%d}", f"--to={TODAY:%Y-%m-%d}"]
        call_command("rebuild_rollups", f"--device={watched.pk}", *span)
        assert sorted(hours(watched)) == [TODAY - 2 * DAY, TODAY - DAY]
        assert hours(other) == {}

    def test_a_rebuild_registers_no_more_keys_than_the_limit(self, device, settings):
        settings.KEYS_PER_DEVICE = 2
        set_rollup_watermark(TODAY + DAY)
        create_keys(device, "environment.z")
        store_reading(device, recorded_at=TODAY, payload={"a": 1, "b": 2, "c": 3, "z": 4})
        call_command("rebuild_rollups")
        assert sorted(Key.objects.values_list("key", flat=True)) == ["a", "z"]

    @pytest.mark.parametrize("option", ["--from=soon", "--device=x", f"--device={'0' * 32}"])
    def test_a_rebuild_with_an_invalid_option_fails(self, db, option):
        with pytest.raises(CommandError):
            call_command("rebuild_rollups", option)


def test_readings_stored_before_the_migration_are_rolled_up_after_it(device):
    migration = import_module("telemetry.migrations.0002_rollups_keys_retention")
    payload = {"t": 1, "gps": {"lat": 2.5, "list": [True]}, "text": "x", "ä": 3, "empty": {}}
    store_reading(device, recorded_at=TODAY - 3 * DAY, payload=payload)
    Key.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(migration.REGISTER_STORED)
    found = Key.objects.order_by("key").values_list("key", "since")
    assert list(found) == [(key, TODAY - 3 * DAY) for key in ("gps.lat", "gps.list.0", "t", "text")]
    rollups.process_queue()
    assert hours(device) == {TODAY - 3 * DAY: (1, 1, 1, 1)}
