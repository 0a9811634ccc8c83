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
from tests.concurrency import at_once
from tests.factories import NOW, DeviceFactory
from tests.telemetry.kept import keep

MIDNIGHT = NOW.replace(hour=0)
DAY = timedelta(days=1)


def test_without_a_rule_all_is_kept_for_ever(device):
    assert retention.cutoffs(device, NOW) == (None, None, None)
    assert retention.earliest_allowed(device, NOW) == MIN_TIMESTAMP


def test_cut_offs_are_midnights_in_utc(device):
    keep(1, 7, 365)
    kept = Cutoffs(MIDNIGHT - DAY, MIDNIGHT - 7 * DAY, MIDNIGHT - 365 * DAY)
    for now in (MIDNIGHT, NOW, MIDNIGHT + DAY - timedelta(microseconds=1)):
        assert retention.cutoffs(device, now) == kept
    assert retention.cutoffs(device, MIDNIGHT + DAY).raw == MIDNIGHT
    assert retention.earliest_allowed(device, NOW) == MIDNIGHT - DAY


@pytest.mark.parametrize("days", [(NOW - MIN_TIMESTAMP).days, 36_500, 2**31 - 1])
def test_an_age_beyond_all_readings_is_for_ever(device, days):
    keep(days)
    assert retention.cutoffs(device, NOW).raw is None
    assert retention.earliest_allowed(device, NOW) == MIN_TIMESTAMP


def test_the_most_particular_rule_holds_whole(db):
    plain, pump, own = (
        DeviceFactory.create(device_type="plain"),
        DeviceFactory.create(device_type="pump"),
        DeviceFactory.create(device_type="pump"),
    )
    keep(30, 60, 90)
    keep(10, device_type="pump")
    keep(None, device=own)
    assert retention.cutoffs(plain, NOW) == tuple(MIDNIGHT - n * DAY for n in (30, 60, 90))
    assert retention.cutoffs(pump, NOW) == (MIDNIGHT - 10 * DAY, None, None)
    assert retention.cutoffs(own, NOW) == (None, None, None)


def test_each_rule_knows_its_living_devices(db):
    plain, pump, own = (
        DeviceFactory.create(),
        DeviceFactory.create(device_type="pump"),
        DeviceFactory.create(device_type="pump"),
    )
    DeviceFactory.create(deleted_at=NOW)
    expected = {keep(30): plain, keep(10, device_type="pump"): pump, keep(5, device=own): own}
    rules = retention.RuleSet.read()
    assert {rule: rules.devices_of(rule).get() for rule in rules} == expected


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
def test_what_nobody_keeps_is_known_of_all_devices_together(db, rules, limit):
    DeviceFactory.create_batch(2)
    DeviceFactory.create(device_type="pump")
    for rule in rules:
        keep(**rule)
    found = retention.RuleSet.read().nothing_kept_before(NOW)
    assert found == (limit and MIDNIGHT - limit * DAY)


def test_a_device_of_its_own_rule_keeps_more_than_all_others(device):
    DeviceFactory.create()
    keep(30)
    keep(90, device=device)
    assert retention.RuleSet.read().nothing_kept_before(NOW) == MIDNIGHT - 90 * DAY
    RetentionRule.objects.filter(device=device).update(raw_days=None)
    assert retention.RuleSet.read().nothing_kept_before(NOW) is None


def test_without_devices_nothing_is_known_to_be_unwanted(db):
    keep(30)
    assert retention.RuleSet.read().nothing_kept_before(NOW) is None


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
def test_a_rule_that_makes_no_sense_is_refused_by_form_and_table(device, rule, words):
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
def test_a_rule_that_makes_sense_is_taken(db, rule):
    made = RetentionRule(**rule)
    made.full_clean()
    made.save()


class TestRulesHeld:
    def test_a_process_reads_them_once_a_minute(
        self, device, monkeypatch, django_assert_num_queries
    ):
        clock = 1000.0
        monkeypatch.setattr(retention, "monotonic", lambda: clock)
        keep(30)
        RetentionRule.objects.update(raw_days=10)
        clock += 59
        with django_assert_num_queries(0):
            assert retention.earliest_allowed(device, NOW) == MIDNIGHT - 30 * DAY
        clock += 1
        with django_assert_num_queries(1):
            assert retention.earliest_allowed(device, NOW) == MIDNIGHT - 10 * DAY
            assert retention.earliest_allowed(device, NOW + DAY) == MIDNIGHT - 9 * DAY


class TestHorizons:
    def test_they_only_move_forward(self, device):
        old, new = Cutoffs(MIDNIGHT - DAY), Cutoffs(MIDNIGHT, MIDNIGHT - DAY)
        assert retention.get_watermark(device) == (None, None, None)
        retention.advance_watermarks({device.pk: old})
        assert retention.get_watermark(device) == old
        retention.advance_watermarks({device.pk: new})
        retention.advance_watermarks({device.pk: old})
        assert retention.get_watermark(device) == new
        assert retention.get_watermarks([device.pk]) == {device.pk: new}

    def test_those_of_devices_that_are_no_more_are_passed_over(self, device):
        gone = DeviceFactory.create()
        due = {gone.pk: Cutoffs(NOW), device.pk: Cutoffs(None, None, NOW)}
        gone.delete()
        retention.advance_watermarks(due)
        assert Horizon.objects.get().device == device
        retention.advance_watermarks({})
        assert retention.get_watermarks([device.pk]) == {device.pk: (None, None, NOW)}

    @pytest.mark.django_db(transaction=True)
    def test_they_stay_while_somebody_goes_by_them(self):
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
    def test_several_may_go_by_them_at_once(self):
        assert at_once(*[lambda: retention.get_watermarks([uuid4()])] * 3) == [{}] * 3


def test_a_time_is_held_back_to_the_midnight_before_it():
    cut = Cutoffs(MIDNIGHT, None, datetime(2024, 1, 1, tzinfo=UTC))
    assert cut.no_later_than(NOW) == cut
    assert cut.no_later_than(MIDNIGHT - timedelta(hours=1)) == Cutoffs(
        MIDNIGHT - DAY, None, datetime(2024, 1, 1, tzinfo=UTC)
    )
