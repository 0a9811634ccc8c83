"""Retention rules, cutoffs and watermarks."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from common.timestamps import MIN_TIMESTAMP
from telemetry.models import Horizon, RetentionRule
from telemetry.retention import rules as retention
from telemetry.retention.rules import Cutoffs
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory
from tests.telemetry.retention_rules import create_rule

MIDNIGHT = NOW.replace(hour=0)
DAY = timedelta(days=1)


def test_without_a_rule_everything_is_kept(device):
    assert retention.cutoffs(device, NOW) == (None, None, None)
    assert retention.earliest_allowed(device, NOW) == MIN_TIMESTAMP


def test_cutoffs_are_midnights_in_utc(device):
    create_rule(1, 7, 365)
    kept = Cutoffs(MIDNIGHT - DAY, MIDNIGHT - 7 * DAY, MIDNIGHT - 365 * DAY)
    for now in (MIDNIGHT, NOW, MIDNIGHT + DAY - timedelta(microseconds=1)):
        assert retention.cutoffs(device, now) == kept
    assert retention.cutoffs(device, MIDNIGHT + DAY).raw == MIDNIGHT
    assert retention.earliest_allowed(device, NOW) == MIDNIGHT - DAY


@pytest.mark.parametrize("days", [(NOW - MIN_TIMESTAMP).days, 36_500, 2**31 - 1])
def test_a_rule_older_than_all_readings_keeps_everything(device, days):
    create_rule(days)
    assert retention.cutoffs(device, NOW).raw is None
    assert retention.earliest_allowed(device, NOW) == MIN_TIMESTAMP


def test_the_most_specific_rule_applies_alone(db):
    plain, pump, own = (
        DeviceFactory.create(device_type="plain"),
        DeviceFactory.create(device_type="pump"),
        DeviceFactory.create(device_type="pump"),
    )
    create_rule(30, 60, 90)
    create_rule(10, device_type="pump")
    create_rule(None, device=own)
    assert retention.cutoffs(plain, NOW) == tuple(MIDNIGHT - n * DAY for n in (30, 60, 90))
    assert retention.cutoffs(pump, NOW) == (MIDNIGHT - 10 * DAY, None, None)
    assert retention.cutoffs(own, NOW) == (None, None, None)


def test_each_rule_applies_to_its_active_devices(db):
    plain, pump, own = (
        DeviceFactory.create(),
        DeviceFactory.create(device_type="pump"),
        DeviceFactory.create(device_type="pump"),
    )
    DeviceFactory.create(deleted_at=NOW)
    expected = {
        create_rule(30): plain,
        create_rule(10, device_type="pump"): pump,
        create_rule(5, device=own): own,
    }
    rules = retention.RuleSet.read()
    assert {rule: rules.devices_for(rule).get() for rule in rules} == expected


@pytest.mark.parametrize(
    ("rules", "limit"),
    [
        ([{"raw": 30}], 30),
        ([{"raw": 30}, {"raw": 90, "device_type": "pump"}], 90),
        ([{"raw": 30}, {"raw": 10, "device_type": "pump"}], 30),
        ([{"raw": 30, "device_type": "pump"}], None),
        ([{"raw": 30}, {"device_type": "pump"}], None),
        ([{"raw": 30}, {"raw": 90, "device_type": "unheard of"}], 30),
        ([], None),
    ],
)
def test_the_global_cutoff_is_the_oldest_one_that_any_device_needs(db, rules, limit):
    DeviceFactory.create_batch(2)
    DeviceFactory.create(device_type="pump")
    for rule in rules:
        create_rule(**rule)
    found = retention.RuleSet.read().global_cutoff(NOW)
    assert found == (limit and MIDNIGHT - limit * DAY)


def test_a_rule_of_one_device_moves_the_global_cutoff(device):
    DeviceFactory.create()
    create_rule(30)
    create_rule(90, device=device)
    assert retention.RuleSet.read().global_cutoff(NOW) == MIDNIGHT - 90 * DAY
    RetentionRule.objects.filter(device=device).update(raw_days=None)
    assert retention.RuleSet.read().global_cutoff(NOW) is None


def test_without_devices_there_is_no_global_cutoff(db):
    create_rule(30)
    assert retention.RuleSet.read().global_cutoff(NOW) is None


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"device_type": "pump", "device": True}, "not for both"),
        ({"raw_days": 0}, "one day"),
        ({"raw_days": 1, "hour_days": 0}, "one day"),
        ({"raw_days": 31, "hour_days": 30}, "at least as long"),
        ({"hour_days": 30}, "at least as long"),
        ({"raw_days": 1, "hour_days": 30, "day_days": 29}, "at least as long"),
        ({"raw_days": 1, "day_days": 29}, "at least as long"),
        ({"raw_days": 5}, "already"),
    ],
)
def test_an_invalid_rule_is_rejected_by_validation_and_by_constraints(device, rule, words):
    RetentionRule.objects.create(raw_days=30)
    made = RetentionRule(**{**rule, **({"device": device} if "device" in rule else {})})
    with pytest.raises(ValidationError, match=words):
        made.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        made.save()


@pytest.mark.parametrize(
    "rule",
    [{}, {"raw_days": 1}, {"raw_days": 9, "hour_days": 9, "day_days": 9}],
)
def test_a_valid_rule_is_stored(db, rule):
    made = RetentionRule(**rule)
    made.full_clean()
    made.save()


class TestCachedRules:
    def test_a_process_reads_the_rules_once_a_minute(
        self, device, monkeypatch, django_assert_num_queries
    ):
        clock = 1000.0
        monkeypatch.setattr(retention, "monotonic", lambda: clock)
        create_rule(30)
        RetentionRule.objects.update(raw_days=10)
        clock += 59
        with django_assert_num_queries(0):
            assert retention.earliest_allowed(device, NOW) == MIDNIGHT - 30 * DAY
        clock += 1
        with django_assert_num_queries(1):
            assert retention.earliest_allowed(device, NOW) == MIDNIGHT - 10 * DAY
            assert retention.earliest_allowed(device, NOW + DAY) == MIDNIGHT - 9 * DAY


class TestWatermarks:
    def test_watermarks_only_move_forward(self, device):
        old, new = Cutoffs(MIDNIGHT - DAY), Cutoffs(MIDNIGHT, MIDNIGHT - DAY)
        assert retention.get_watermark(device) == (None, None, None)
        retention.advance_watermarks({device.pk: old})
        assert retention.get_watermark(device) == old
        retention.advance_watermarks({device.pk: new})
        retention.advance_watermarks({device.pk: old})
        assert retention.get_watermark(device) == new
        assert retention.get_watermarks([device.pk]) == {device.pk: new}

    def test_watermarks_of_deleted_devices_are_skipped(self, device):
        gone = DeviceFactory.create()
        due = {gone.pk: Cutoffs(NOW), device.pk: Cutoffs(None, None, NOW)}
        gone.delete()
        retention.advance_watermarks(due)
        assert Horizon.objects.get().device == device
        retention.advance_watermarks({})
        assert retention.get_watermarks([device.pk]) == {device.pk: (None, None, NOW)}

    @pytest.mark.django_db(transaction=True)
    def test_a_watermark_waits_for_transactions_that_read_it(self):
        device = DeviceFactory.create()

        def move():
            try:
                retention.advance_watermarks({device.pk: Cutoffs(MIDNIGHT)})
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic(), connection.cursor() as cursor:
                assert retention.get_watermarks([device.pk]) == {}
                moving = pool.submit(move)
                waits = 0
                while not waits and not moving.done():
                    cursor.execute(
                        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
                    )
                    (waits,) = cursor.fetchone()
                assert waits
                assert not Horizon.objects.exists()
            moving.result(30)
        assert retention.get_watermarks([device.pk]) == {device.pk: Cutoffs(MIDNIGHT)}

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_readers_of_watermarks_do_not_block_each_other(self):
        assert run_concurrently(*[lambda: retention.get_watermarks([uuid4()])] * 3) == [{}] * 3


def test_a_capped_cutoff_is_the_midnight_before_the_limit():
    cut = Cutoffs(MIDNIGHT, None, datetime(2024, 1, 1, tzinfo=UTC))
    assert cut.capped_at(NOW) == cut
    assert cut.capped_at(MIDNIGHT - timedelta(hours=1)) == Cutoffs(
        MIDNIGHT - DAY, None, datetime(2024, 1, 1, tzinfo=UTC)
    )
