import logging
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import connection, connections
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from telemetry.ingest import storage
from telemetry.ingest.validation import EPOCH
from telemetry.models import DayRollup, HourRollup, RetentionRule, Telemetry
from telemetry.retention import apply as expiry
from telemetry.retention import partitions, purge
from telemetry.retention import rules as retention
from telemetry.retention.partitions import Partition
from tests.concurrency import at_once
from tests.factories import NOW, DeviceFactory, make_reading, store_reading
from tests.stopping import after
from tests.telemetry.kept import keep, rolled_up
from tests.telemetry.parts import drop_old_partitions

MIDNIGHT = NOW.replace(hour=0)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
MAY = Partition(date(2025, 5, 1), date(2025, 6, 1))
JUNE_2002 = Partition(date(2002, 6, 1), date(2002, 7, 1))


@pytest.fixture(autouse=True)
def _nobody_waits_for_a_month_that_is_in_use(monkeypatch):
    monkeypatch.setattr(partitions, "PAUSES", ())


def apply(now=NOW):
    gone = Counter()
    for table, rows in expiry.apply(now):
        gone[table] += rows
    return gone


def store_rollups(model, device, buckets):
    values = {"telemetry_type": "environment", "key": "t", "count": 1, "sum": 1, "min": 1, "max": 1}
    model.objects.bulk_create(model(device=device, bucket=one, **values) for one in buckets)


def times():
    return set(Telemetry.objects.values_list("recorded_at", flat=True))


ages = st.sampled_from([1, 2, 14, 15, 16, 30, 45, 46, 75, 5000, None])
ages_of_rules = st.tuples(ages, ages, ages).map(
    lambda some: sorted(some, key=lambda age: (age is None, age))
)
instants = st.builds(
    lambda days, shift: MIDNIGHT - days * DAY + shift * MICROSECOND,
    st.sampled_from([0, 1, 2, 13, 14, 15, 16, 30, 44, 45, 46, 75, 76, 110]),
    st.sampled_from([-1, 0, 1, 3_600_000_000]),
)


def test_one_that_is_told_to_stop_looks_at_no_further_device(db):
    for device in DeviceFactory.create_batch(3):
        storage.store(device, [make_reading(device, recorded_at=NOW - 40 * DAY)], now=NOW)
    rolled_up(NOW)
    keep(30)
    told = {"should_stop": after(2)}
    assert sum(rows for _, rows in expiry.apply(NOW, **told) if rows) == 2
    assert sum(apply().values()) == 1


class TestRules(TestCase):
    """Devices of no particular type, of a type, and with a rule of its own."""

    @settings(max_examples=30)
    @given(
        rules=st.dictionaries(st.sampled_from(["", "pump", "own"]), ages_of_rules, min_size=1),
        sent=st.lists(st.tuples(st.integers(0, 2), instants), min_size=8, max_size=20),
        batch=st.integers(1, 4),
        hours=st.integers(0, 24),
    )
    def test_what_goes_is_what_brute_force_says(self, rules, sent, batch, hours):
        plain = DeviceFactory.create()
        pump, own = DeviceFactory.create_batch(2, device_type="pump")
        fitting = {plain.pk: [""], pump.pk: ["pump", ""], own.pk: ["own", "pump", ""]}
        for index, device in enumerate((plain, pump, own)):
            times = [time for one, time in sent if one == index]
            storage.store(
                device,
                [
                    make_reading(device, recorded_at=time, payload={"n": number})
                    for number, time in enumerate(times)
                ],
                now=NOW,
            )
            store_rollups(
                HourRollup, device, {EPOCH + (time - EPOCH) // HOUR * HOUR for time in times}
            )
            store_rollups(
                DayRollup, device, {EPOCH + (time - EPOCH) // DAY * DAY for time in times}
            )
        for scope, kept in rules.items():
            of = {"own": {"device": own}, "pump": {"device_type": "pump"}, "": {}}[scope]
            keep(*kept, **of)
        rolled_up(NOW)
        now = MIDNIGHT + hours * HOUR

        def goes(device_id, kind, time):
            ages = next((rules[one] for one in fitting[device_id] if one in rules), [None] * 3)
            return ages[kind] is not None and time < now.replace(hour=0) - ages[kind] * DAY

        def rows():
            return [
                set(model.objects.values_list("device", time, "pk"))
                for model, time, _ in expiry.KINDS
            ]

        before = rows()
        going = [{row for row in had if goes(row[0], n, row[1])} for n, had in enumerate(before)]
        told = Counter()
        for part in expiry.preview(now).parts:
            told[part.kind] += part.rows
        assert [told[kind] for *_, kind in expiry.KINDS] == [len(some) for some in going]
        with mock.patch.object(purge, "BATCH", batch):
            gone = apply(now)
        assert rows() == [had - some for had, some in zip(before, going, strict=True)]
        assert gone.total() == sum(map(len, going))


def test_without_rules_nothing_goes(device):
    store_reading(device, recorded_at=NOW - 5000 * DAY)
    assert expiry.preview(NOW) == ([], [])
    assert apply() == {}
    assert Telemetry.objects.count() == 1


def test_what_has_gone_is_counted_by_table(device):
    for days in (1, 20, 50, 51):
        store_reading(device, recorded_at=NOW - days * DAY)
    store_rollups(HourRollup, device, [NOW - 50 * DAY, NOW - 70 * DAY])
    store_rollups(DayRollup, device, [MIDNIGHT - 50 * DAY, MIDNIGHT - 99 * DAY])
    rolled_up(NOW)
    keep(10, 60, 90)
    assert apply() == {"telemetry": 3, "telemetry_hours": 1, "telemetry_days": 1}
    assert apply() == {}


class TestMonths:
    @pytest.fixture(autouse=True)
    def _may_is_a_month_whatever_year_it_is_now(self, db):
        partitions.ensure([MAY.first], now=NOW)

    def test_one_that_nobody_keeps_is_dropped(self, device):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        rolled_up(NOW)
        keep(14)
        assert MAY in expiry.preview(NOW).partitions
        assert apply() == {"telemetry": 1}
        assert MAY not in partitions.list_months()

    def test_one_that_reaches_into_the_retention_stays(self, device):
        kept = NOW.replace(day=1, hour=0) - MICROSECOND
        for time in (kept, kept - DAY):
            store_reading(device, recorded_at=time)
        rolled_up(NOW)
        keep(15)
        apply()
        assert times() == {kept}
        assert MAY in partitions.list_months()

    def test_one_that_a_single_device_keeps_loses_the_rows_of_the_others(self, device):
        other = DeviceFactory.create()
        for one in (device, other):
            store_reading(one, recorded_at=NOW - 40 * DAY)
        rolled_up(NOW)
        keep(10)
        keep(None, device=other)
        assert expiry.preview(NOW).partitions == []
        apply()
        assert Telemetry.objects.get().device == other

    def test_one_that_is_wanted_after_all_stays(self, device, monkeypatch):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        rolled_up(NOW)
        rule = keep(10)
        drop = partitions.drop

        def drop_late(partition, *, agreed):
            if partition == MAY:
                RetentionRule.objects.filter(pk=rule.pk).update(raw_days=60)
            return drop(partition, agreed=agreed)

        monkeypatch.setattr(partitions, "drop", drop_late)
        next(expiry.apply(NOW), None)
        assert MAY in partitions.list_months()

    def test_the_rows_of_one_that_is_in_use_go_in_batches(self, device, monkeypatch):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        rolled_up(NOW)
        keep(10)
        monkeypatch.setattr(partitions, "drop", lambda partition, agreed: False)
        assert apply() == {"telemetry": 1}


class TestNotYetRolledUp:
    def test_what_the_worker_has_not_come_to_is_kept(self, device):
        late = NOW - 20 * DAY
        for time in (late - 2 * DAY, late):
            store_reading(device, recorded_at=time)
        store_rollups(HourRollup, device, [NOW - 50 * DAY, late - HOUR])
        rolled_up(late)
        keep(10, 10)
        assert apply() == {"telemetry": 1, "telemetry_hours": 1}
        assert times() == {late}
        assert retention.get_watermark(device).raw == late.replace(hour=0)

    def test_a_device_with_late_readings_waits_and_no_other_does(self, device):
        other = DeviceFactory.create()
        late = NOW - 40 * DAY
        for one in (device, other):
            store_reading(one, recorded_at=late)
        rolled_up(NOW, but={device: late.replace(minute=0)})
        keep(10)
        apply()
        assert Telemetry.objects.get().device == device
        rolled_up(NOW)
        apply()
        assert not Telemetry.objects.exists()


def test_a_rule_that_is_loosened_moves_no_horizon_back(device):
    keep(10)
    apply()
    RetentionRule.objects.update(raw_days=90)
    apply()
    assert retention.get_watermarks([device.pk]) == {device.pk: (MIDNIGHT - 10 * DAY, None, None)}


class TestPreview:
    def test_it_says_what_would_go_by_rule(self, device):
        for days in (20, 21, 30):
            store_reading(device, recorded_at=NOW - days * DAY)
        for model in (HourRollup, DayRollup):
            store_rollups(model, device, [MIDNIGHT - 90 * DAY])
        keep(10, 60)
        keep(21, 25, 100, device=device)
        assert [f"{part.rule}: {part}" for part in expiry.preview(NOW).parts] == [
            "all devices: 0 readings before 5 Jun 2025 would go",
            "all devices: 0 hourly values before 16 Apr 2025 would go",
            "the device greenhouse: 1 reading before 25 May 2025 would go",
            "the device greenhouse: 1 hourly value before 21 May 2025 would go",
            "the device greenhouse: 0 daily values before 7 Mar 2025 would go",
        ]

    def test_of_many_rows_it_says_what_the_planner_expects(self, device, monkeypatch):
        monkeypatch.setattr(expiry, "COUNTED", 3)
        storage.store(
            device,
            [make_reading(device, recorded_at=NOW - 20 * DAY + n * HOUR) for n in range(40)],
            now=NOW,
        )
        keep(10)
        (part,) = expiry.preview(NOW).parts
        assert not part.exact
        assert part.rows > 3

    def test_of_rows_that_take_too_long_to_count_too(self, device, monkeypatch):
        monkeypatch.setattr(expiry, "COUNTING", "10ms")
        store_reading(device)
        assert expiry._count(Telemetry.objects.all()) == (1, True)
        _, exact = expiry._count(Telemetry.objects.extra(where=["pg_sleep(9) IS NULL"]))
        assert not exact
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() != ("10ms",)

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            (100_001, "about 100,000"),
            (356_789, "about 360,000"),
            (1_000_000, "about 1.0 M"),
            (12_449_000, "about 12.4 M"),
            (1_234_567_890, "about 1,234.6 M"),
        ],
    )
    def test_many_are_said_roughly(self, rows, words):
        assert expiry.format_estimate(rows) == words


class TestCommand:
    def test_a_dry_run_says_what_would_go_and_removes_nothing(self, device, capsys):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        rolled_up(datetime.now(UTC))
        keep(10)
        call_command("apply_retention", "--dry-run")
        said = capsys.readouterr().out
        assert "of all devices, 1 reading before " in said
        assert "May 2025 would go whole" in said
        assert Telemetry.objects.exists()

    def test_it_says_what_has_gone(self, device, capsys):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        rolled_up(datetime.now(UTC))
        keep(10)
        call_command("apply_retention")
        assert "1 readings removed\n0 hourly values removed" in capsys.readouterr().out
        assert not Telemetry.objects.exists()

    def test_without_a_rule_it_says_so(self, db, capsys):
        call_command("apply_retention")
        assert "Everything is kept for ever." in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
class TestWhileOthersSend:
    def test_readings_are_stored_while_months_and_batches_go(self, monkeypatch):
        monkeypatch.setattr(purge, "BATCH", 20)
        monkeypatch.setattr(partitions, "PAUSES", [0.05] * 100)
        device, other = DeviceFactory.create_batch(2)
        old = [
            make_reading(device, recorded_at=datetime(2002, 6, 1, tzinfo=UTC) + n * 4 * HOUR)
            for n in range(400)
        ]
        now = datetime(2002, 8, 20, tzinfo=UTC)
        storage.store(device, old, now=now)
        new = [make_reading(other, recorded_at=now + n * HOUR) for n in range(50)]
        rolled_up(now)
        keep(30)

        def send():
            return sum(storage.store(other, [one], now=now).accepted for one in new)

        try:
            gone, stored = at_once(lambda: apply(now), send)
            assert stored == 50
            assert gone == {"telemetry": sum(one.recorded_at < now - 30 * DAY for one in old)}
            assert JUNE_2002 not in partitions.list_months()
            assert Telemetry.objects.count() == 50 + 400 - gone["telemetry"]
        finally:
            rolled_up(datetime.now(UTC))
            drop_old_partitions()

    def test_a_month_that_is_read_all_the_time_is_left_alone(self, caplog):
        partitions.ensure([JUNE_2002.first], now=JUNE_2002.start)
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute("BEGIN; SELECT FROM telemetry")
                with caplog.at_level(logging.WARNING):
                    assert not partitions.drop(JUNE_2002, agreed=lambda: True)
                assert "in use" in caplog.text
                cursor.execute("ROLLBACK")
            assert not partitions.drop(JUNE_2002, agreed=lambda: False)
            assert JUNE_2002 in partitions.list_months()
            assert partitions.drop(JUNE_2002, agreed=lambda: True)
            assert JUNE_2002 not in partitions.list_months()
        finally:
            other.close()
