"""The boundaries of buckets in time zones."""

import math
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.queries import buckets
from telemetry.queries.buckets import DAY, HOUR
from tests.factories import NOW

SECOND = timedelta(seconds=1)
MONDAY = datetime(2000, 1, 3, tzinfo=UTC)
ZONES = [
    "UTC", "Europe/Brussels", "America/New_York", "Asia/Kolkata", "America/St_Johns",
    "Australia/Lord_Howe", "Pacific/Apia", "America/Havana", "America/Sao_Paulo",
]  # fmt: skip
zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.datetimes(datetime(2000, 1, 2), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
lengths = st.timedeltas(SECOND, timedelta(days=14_000))


@given(instants, lengths, st.integers(1, 2000))
def test_a_range_has_no_more_buckets_than_requested(start, length, points):
    step = next(buckets.allowed_steps(start, start + length, points))
    assert math.ceil(length.total_seconds() / step) <= points


@given(instants, lengths, st.integers(1, 1998))
def test_the_step_is_the_shortest_round_one(start, length, points):
    step = next(buckets.allowed_steps(start, start + length, points))
    shorter = [one for one in buckets.STEPS if one < step]
    if shorter:
        assert shorter[-1] * points < length.total_seconds()


def test_longer_steps_continue_without_end():
    assert list(islice(buckets.allowed_steps(NOW, NOW + timedelta(days=27), 1), 3)) == [
        28 * DAY, 29 * DAY, 30 * DAY,
    ]  # fmt: skip


def test_a_step_is_at_least_one_second():
    assert next(buckets.allowed_steps(NOW, NOW + SECOND, 2000)) == 1


@given(instants, lengths, st.integers(1, 2000), zones)
def test_the_buckets_cover_the_range_and_are_at_most_two_thousand(start, length, points, zone):
    end = start + length
    step = next(buckets.allowed_steps(start, end, points))
    bounds = buckets.bucket_boundaries(start, end, step, zone)
    assert bounds[0] <= start < bounds[1]
    assert bounds[-2] < end <= bounds[-1]
    assert all(one < other for one, other in pairwise(bounds))
    assert len(bounds) - 1 <= min(points + 2, buckets.POINTS_LIMIT)


@given(instants, zones, st.sampled_from(buckets.STEPS), st.integers(1, 300))
def test_buckets_begin_at_round_local_times(start, zone, step, count):
    bounds = buckets.bucket_boundaries(start, start + count * step * SECOND, step, zone)
    for bound in bounds[:1] if step <= HOUR else bounds:
        clock = bound.astimezone(zone)
        before = (bound - SECOND).astimezone(zone)
        if clock.utcoffset() != before.utcoffset():
            continue  # the clocks changed at this moment
        assert (clock.hour * HOUR + clock.minute * 60 + clock.second) % min(step, DAY) == 0
        if step >= DAY:
            assert (clock.date() - MONDAY.date()).days % (step // DAY) == 0


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Brussels", datetime(2025, 3, 30), 23),  # noqa: DTZ001
        ("Europe/Brussels", datetime(2025, 10, 26), 25),  # noqa: DTZ001
        ("America/St_Johns", datetime(2025, 3, 9), 23),  # noqa: DTZ001
        ("Australia/Lord_Howe", datetime(2025, 4, 6), 24.5),  # noqa: DTZ001
        ("America/Havana", datetime(2025, 11, 2), 25),  # noqa: DTZ001
        ("America/Sao_Paulo", datetime(2018, 11, 4), 23),  # noqa: DTZ001
        ("Asia/Kolkata", datetime(2025, 3, 30), 24),  # noqa: DTZ001
    ],
)
def test_a_day_lasts_from_local_midnight_to_midnight(zone, day, hours):
    start = day.replace(hour=12, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    first, last = buckets.bucket_boundaries(start, start + SECOND, DAY, ZoneInfo(zone))
    assert last - first == timedelta(hours=hours)
    assert first.astimezone(ZoneInfo(zone)).date() == day.date()


def test_weeks_begin_on_mondays():
    first, _ = buckets.bucket_boundaries(NOW, NOW + SECOND, 7 * DAY, UTC)
    assert first.isoweekday() == 1


def test_buckets_of_hours_follow_the_local_clock_across_a_change():
    zone = ZoneInfo("Europe/Brussels")
    start = datetime(2025, 10, 26, tzinfo=zone).astimezone(UTC)
    bounds = buckets.bucket_boundaries(start, start + timedelta(hours=25), 6 * HOUR, zone)
    assert [bound.astimezone(zone).hour for bound in bounds] == [0, 6, 12, 18, 0]
    assert bounds[1] - bounds[0] == timedelta(hours=7)
