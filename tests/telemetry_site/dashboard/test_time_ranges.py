"""Time ranges in URLs."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from telemetry_site.dashboard import time_ranges
from telemetry_site.dashboard.time_ranges import TimeWindow

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"range": "24h"}, TimeWindow(DAY)),
        ({"range": "5400s"}, TimeWindow(timedelta(hours=1.5))),
        (
            {"from": "2025-06-01T00:00:00Z", "to": "2025-06-02T00:00:00Z"},
            TimeWindow(DAY, datetime(2025, 6, 2, tzinfo=UTC)),
        ),
        ({"from": "2025-06-02T00:00:00Z", "to": "2025-06-01T00:00:00Z"}, None),
        ({"from": "1999-06-02T00:00:00Z", "to": "2025-06-01T00:00:00Z"}, None),
        ({"from": "2025-06-01T00:00:00Z", "to": "9999-12-31T23:59:59-23:59"}, None),
        ({"from": "2025-06-01T00:00:00Z"}, None),
        ({"from": "2025-13-01T00:00:00Z", "to": "soon"}, None),
        ({"range": "9s"}, None),
        ({"range": "999999999s"}, None),
        ({"range": "\N{ARABIC-INDIC DIGIT NINE}0s"}, None),
        ({}, None),
    ],
)
def test_only_a_valid_range_is_parsed(
    query: dict[str, str], found: TimeWindow | None, now: datetime
) -> None:
    assert time_ranges.parse_window(query, now) == found


@pytest.mark.parametrize("window", [TimeWindow(DAY), TimeWindow(timedelta(seconds=77))])
def test_a_range_is_the_same_after_a_round_trip_through_its_query(
    window: TimeWindow, now: datetime
) -> None:
    assert time_ranges.parse_window(window.query, now) == window
    still = TimeWindow(window.length, now)
    assert time_ranges.parse_window(still.query, now) == still


def test_a_range_moved_to_now_follows_the_present(now: datetime) -> None:
    earlier = TimeWindow(DAY).shift(-1, now)
    assert earlier == TimeWindow(DAY, now - DAY)
    assert earlier.shift(0.5, now) == TimeWindow(DAY, now - DAY / 2)
    assert earlier.shift(1, now) == TimeWindow(DAY)


def test_zooming_keeps_the_middle_within_the_limits(now: datetime) -> None:
    past = TimeWindow(DAY, now - 10 * DAY)
    assert past.zoom(0.5, now) == TimeWindow(DAY / 2, now - 10.25 * DAY)
    assert past.zoom(2, now) == TimeWindow(2 * DAY, now - 9.5 * DAY)
    assert past.zoom(100, now) == TimeWindow(100 * DAY)
    assert TimeWindow(time_ranges.MAX_LENGTH).zoom(2, now) == TimeWindow(time_ranges.MAX_LENGTH)
    assert TimeWindow(time_ranges.MIN_LENGTH).zoom(0.5, now) == TimeWindow(time_ranges.MIN_LENGTH)


def test_times_of_a_form_are_in_the_time_zone_of_the_user() -> None:
    typed = {"from": "2025-06-01T10:00", "to": "2025-06-02T10:00"}
    with timezone.override("Asia/Kolkata"):
        exact = time_ranges.normalized_query(typed)
    assert exact == {"from": "2025-06-01T04:30:00Z", "to": "2025-06-02T04:30:00Z"}
    assert time_ranges.normalized_query(exact) == {}
    assert time_ranges.normalized_query({"from": "2025-06-01T10:00", "to": ""}) == {}
