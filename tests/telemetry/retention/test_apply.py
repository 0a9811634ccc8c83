"""Deletion of expired rows, its preview and its command."""

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
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, make_reading, store_reading
from tests.stopping import stop_after
from tests.telemetry.old_partitions import drop_old_partitions
from tests.telemetry.retention_rules import create_rule, set_rolled_up

MIDNIGHT = NOW.replace(hour=0)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
MAY = Partition(date(2025, 5, 1), date(2025, 6, 1))
JUNE_2002 = Partition(date(2002, 6, 1), date(2002, 7, 1))


@pytest.fixture(autouse=True)
def _no_waiting_for_partitions_in_use(monkeypatch):
    monkeypatch.setattr(partitions, "RETRY_DELAYS_SECONDS", ())


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


def test_a_stopped_run_processes_no_further_device(db):
    for device in DeviceFactory.create_batch(3):
        storage.store(device, [make_reading(device, recorded_at=NOW - 40 * DAY)], now=NOW)
    set_rolled_up(NOW)
    create_rule(30)
    told = {"should_stop": stop_after(2)}
    assert sum(rows for _, rows in expiry.apply(NOW, **told) if rows) == 2
    assert sum(apply().values()) == 1


class TestRules(TestCase):
    """Devices without a type of interest, of a type with a rule, and with a rule of their own."""

    @settings(max_examples=30)
    @given(
        rules=st.dictionaries(st.sampled_from(["", "pump", "own"]), ages_of_rules, min_size=1),
        sent=st.lists(st.tuples(st.integers(0, 2), instants), min_size=8, max_size=20),
        batch=st.integers(1, 4),
        hours=st.integers(0, 24),
    )
    def test_exactly_the_rows_of_a_brute_force_calculation_are_deleted(
        self, rules, sent, batch, hours
    ):
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
            create_rule(*kept, **of)
        set_rolled_up(NOW)
        now = MIDNIGHT + hours * HOUR

        def is_expired(device_id, kind, time):
            ages = next((rules[one] for one in fitting[device_id] if one in rules), [None] * 3)
            return ages[kind] is not None and time < now.replace(hour=0) - ages[kind] * DAY

        def rows():
            return [
                set(model.objects.values_list("device", time, "pk"))
                for model, time, _ in expiry.KINDS
            ]

        before = rows()
        going = [
            {row for row in had if is_expired(row[0], n, row[1])} for n, had in enumerate(before)
        ]
        told = Counter()
        for part in expiry.preview(now).parts:
            told[part.kind] += part.rows
        assert [told[kind] for *_, kind in expiry.KINDS] == [len(some) for some in going]
        with mock.patch.object(purge, "BATCH_SIZE", batch):
            gone = apply(now)
        assert rows() == [had - some for had, some in zip(before, going, strict=True)]
        assert gone.total() == sum(map(len, going))


def test_without_rules_nothing_is_deleted(device):
    store_reading(device, recorded_at=NOW - 5000 * DAY)
    assert expiry.preview(NOW) == ([], [])
    assert apply() == {}
    assert Telemetry.objects.count() == 1


def test_deleted_rows_are_counted_by_table(device):
    for days in (1, 20, 50, 51):
        store_reading(device, recorded_at=NOW - days * DAY)
    store_rollups(HourRollup, device, [NOW - 50 * DAY, NOW - 70 * DAY])
    store_rollups(DayRollup, device, [MIDNIGHT - 50 * DAY, MIDNIGHT - 99 * DAY])
    set_rolled_up(NOW)
    create_rule(10, 60, 90)
    assert apply() == {"telemetry": 3, "telemetry_hours": 1, "telemetry_days": 1}
    assert apply() == {}


class TestMonths:
    @pytest.fixture(autouse=True)
    def _may_is_partitioned_by_month(self, db):
        partitions.ensure([MAY.first], now=NOW)

    def test_a_month_that_no_rule_keeps_is_dropped(self, device):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        set_rolled_up(NOW)
        create_rule(14)
        assert MAY in expiry.preview(NOW).partitions
        assert apply() == {"telemetry": 1}
        assert MAY not in partitions.list_months()

    def test_a_month_partly_within_the_retention_is_not_dropped(self, device):
        kept = NOW.replace(day=1, hour=0) - MICROSECOND
        for time in (kept, kept - DAY):
            store_reading(device, recorded_at=time)
        set_rolled_up(NOW)
        create_rule(15)
        apply()
        assert times() == {kept}
        assert MAY in partitions.list_months()

    def test_a_month_that_one_device_keeps_loses_the_rows_of_other_devices(self, device):
        other = DeviceFactory.create()
        for one in (device, other):
            store_reading(one, recorded_at=NOW - 40 * DAY)
        set_rolled_up(NOW)
        create_rule(10)
        create_rule(None, device=other)
        assert expiry.preview(NOW).partitions == []
        apply()
        assert Telemetry.objects.get().device == other

    def test_a_month_whose_rule_changes_before_the_drop_is_not_dropped(self, device, monkeypatch):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        set_rolled_up(NOW)
        rule = create_rule(10)
        drop = partitions.drop

        def drop_late(partition, *, confirm):
            if partition == MAY:
                RetentionRule.objects.filter(pk=rule.pk).update(raw_days=60)
            return drop(partition, confirm=confirm)

        monkeypatch.setattr(partitions, "drop", drop_late)
        next(expiry.apply(NOW), None)
        assert MAY in partitions.list_months()

    def test_the_rows_of_a_month_in_use_are_deleted_in_batches(self, device, monkeypatch):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        set_rolled_up(NOW)
        create_rule(10)
        monkeypatch.setattr(partitions, "drop", lambda partition, confirm: False)
        assert apply() == {"telemetry": 1}


class TestNotYetRolledUp:
    def test_readings_after_the_rollup_watermark_are_kept(self, device):
        late = NOW - 20 * DAY
        for time in (late - 2 * DAY, late):
            store_reading(device, recorded_at=time)
        store_rollups(HourRollup, device, [NOW - 50 * DAY, late - HOUR])
        set_rolled_up(late)
        create_rule(10, 10)
        assert apply() == {"telemetry": 1, "telemetry_hours": 1}
        assert times() == {late}
        assert retention.get_watermark(device).raw == late.replace(hour=0)

    def test_queued_hours_of_one_device_delay_only_this_device(self, device):
        other = DeviceFactory.create()
        late = NOW - 40 * DAY
        for one in (device, other):
            store_reading(one, recorded_at=late)
        set_rolled_up(NOW, but={device: late.replace(minute=0)})
        create_rule(10)
        apply()
        assert Telemetry.objects.get().device == device
        set_rolled_up(NOW)
        apply()
        assert not Telemetry.objects.exists()


def test_a_longer_retention_does_not_move_the_watermark_back(device):
    create_rule(10)
    apply()
    RetentionRule.objects.update(raw_days=90)
    apply()
    assert retention.get_watermarks([device.pk]) == {device.pk: (MIDNIGHT - 10 * DAY, None, None)}


class TestPreview:
    def test_the_preview_lists_expired_rows_by_rule(self, device):
        for days in (20, 21, 30):
            store_reading(device, recorded_at=NOW - days * DAY)
        for model in (HourRollup, DayRollup):
            store_rollups(model, device, [MIDNIGHT - 90 * DAY])
        create_rule(10, 60)
        create_rule(21, 25, 100, device=device)
        assert [f"{part.rule}: {part}" for part in expiry.preview(NOW).parts] == [
            "all devices: 0 readings before 5 Jun 2025 would be deleted",
            "all devices: 0 hourly values before 16 Apr 2025 would be deleted",
            "the device greenhouse: 1 reading before 25 May 2025 would be deleted",
            "the device greenhouse: 1 hourly value before 21 May 2025 would be deleted",
            "the device greenhouse: 0 daily values before 7 Mar 2025 would be deleted",
        ]

    def test_many_rows_are_estimated_by_the_planner(self, device, monkeypatch):
        monkeypatch.setattr(expiry, "MAX_COUNTED_ROWS", 3)
        storage.store(
            device,
            [make_reading(device, recorded_at=NOW - 20 * DAY + n * HOUR) for n in range(40)],
            now=NOW,
        )
        create_rule(10)
        (part,) = expiry.preview(NOW).parts
        assert not part.exact
        assert part.rows > 3

    def test_a_count_that_takes_too_long_is_replaced_by_an_estimate(self, device, monkeypatch):
        monkeypatch.setattr(expiry, "COUNT_TIMEOUT", "10ms")
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
    def test_large_numbers_are_rounded(self, rows, words):
        assert expiry.format_estimate(rows) == words


class TestCommand:
    def test_a_dry_run_prints_expired_rows_and_deletes_nothing(self, device, capsys):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        set_rolled_up(datetime.now(UTC))
        create_rule(10)
        call_command("apply_retention", "--dry-run")
        said = capsys.readouterr().out
        assert "all devices: 1 reading before " in said
        assert "May 2025: all readings would be deleted" in said
        assert Telemetry.objects.exists()

    def test_the_command_prints_the_deleted_rows(self, device, capsys):
        store_reading(device, recorded_at=NOW - 40 * DAY)
        set_rolled_up(datetime.now(UTC))
        create_rule(10)
        call_command("apply_retention")
        assert "1 readings deleted\n0 hourly values deleted" in capsys.readouterr().out
        assert not Telemetry.objects.exists()

    def test_without_a_rule_the_command_says_that_everything_is_kept(self, db, capsys):
        call_command("apply_retention")
        assert "Everything is kept forever." in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
class TestConcurrentIngest:
    def test_readings_are_stored_while_partitions_and_batches_are_deleted(self, monkeypatch):
        monkeypatch.setattr(purge, "BATCH_SIZE", 20)
        monkeypatch.setattr(partitions, "RETRY_DELAYS_SECONDS", [0.05] * 100)
        device, other = DeviceFactory.create_batch(2)
        old = [
            make_reading(device, recorded_at=datetime(2002, 6, 1, tzinfo=UTC) + n * 4 * HOUR)
            for n in range(400)
        ]
        now = datetime(2002, 8, 20, tzinfo=UTC)
        storage.store(device, old, now=now)
        new = [make_reading(other, recorded_at=now + n * HOUR) for n in range(50)]
        set_rolled_up(now)
        create_rule(30)

        def send():
            return sum(storage.store(other, [one], now=now).accepted for one in new)

        try:
            gone, stored = run_concurrently(lambda: apply(now), send)
            assert stored == 50
            assert gone == {"telemetry": sum(one.recorded_at < now - 30 * DAY for one in old)}
            assert JUNE_2002 not in partitions.list_months()
            assert Telemetry.objects.count() == 50 + 400 - gone["telemetry"]
        finally:
            set_rolled_up(datetime.now(UTC))
            drop_old_partitions()

    def test_a_month_that_is_read_all_the_time_is_not_dropped(self, caplog):
        partitions.ensure([JUNE_2002.first], now=JUNE_2002.start)
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute("BEGIN; SELECT FROM telemetry")
                with caplog.at_level(logging.WARNING):
                    assert not partitions.drop(JUNE_2002, confirm=lambda: True)
                assert "in use" in caplog.text
                cursor.execute("ROLLBACK")
            assert not partitions.drop(JUNE_2002, confirm=lambda: False)
            assert JUNE_2002 in partitions.list_months()
            assert partitions.drop(JUNE_2002, confirm=lambda: True)
            assert JUNE_2002 not in partitions.list_months()
        finally:
            other.close()
