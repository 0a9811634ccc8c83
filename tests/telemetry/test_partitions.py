from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from telemetry import partitions
from tests.concurrency import at_once
from tests.factories import DeviceFactory, store_reading

MICROSECOND = timedelta(microseconds=1)


def bounds_of(name):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = to_regclass(%s)",
            [name],
        )
        row = cursor.fetchone()
    return row and row[0]


def partition_of(reading):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text FROM telemetry WHERE device_id = %s AND id = %s",
            [reading.device_id, reading.pk],
        )
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("time", "month"),
    [
        (datetime(2003, 2, 28, 23, 59, 59, 999_999, UTC), date(2003, 2, 1)),
        (datetime(2003, 3, 1, tzinfo=UTC), date(2003, 3, 1)),
        (datetime(2003, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))), date(2003, 2, 1)),
        (datetime(2003, 12, 31, 23, 0, tzinfo=timezone(-timedelta(hours=1))), date(2004, 1, 1)),
    ],
)
def test_a_month_is_one_of_utc(time, month):
    assert partitions.month_of(time) == month


@pytest.mark.parametrize(
    ("month", "after"),
    [
        (date(2003, 1, 1), date(2003, 2, 1)),
        (date(2003, 11, 1), date(2003, 12, 1)),
        (date(2003, 12, 1), date(2004, 1, 1)),
    ],
)
def test_after_december_comes_january(month, after):
    assert partitions.month_after(month) == after


@given(st.dates(date(2000, 1, 1), date(9998, 12, 1)))
def test_the_month_after_is_the_next_first(day):
    month = day.replace(day=1)
    after = partitions.month_after(month)
    assert after.day == 1
    assert 28 <= (after - month).days <= 31


def test_a_partition_is_named_after_its_month_and_spans_it(db):
    assert partitions.ensure([date(2003, 12, 1)]) == [date(2003, 12, 1)]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    assert bounds_of("telemetry_2003_12") == (
        "FOR VALUES FROM ('2003-12-01 00:00:00+00') TO ('2004-01-01 00:00:00+00')"
    )


def test_a_partition_spans_its_utc_month_whatever_zone_the_session_is_in(db):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")
    partitions.ensure([date(2003, 7, 1)])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    assert "('2003-07-01 00:00:00+00') TO ('2003-08-01 00:00:00+00')" in bounds_of(
        "telemetry_2003_07"
    )


def test_a_month_is_made_once(db):
    months = [date(2003, 5, 1), date(2003, 4, 1), date(2003, 5, 1)]
    assert partitions.ensure(months) == [date(2003, 4, 1), date(2003, 5, 1)]
    assert partitions.ensure(months) == []
    assert partitions.ensure([]) == []


def test_this_month_and_three_more_are_made_ahead(db):
    made = partitions.ensure_ahead(datetime(2003, 11, 30, 23, 59, tzinfo=UTC))
    assert made == [date(2003, 11, 1), date(2003, 12, 1), date(2004, 1, 1), date(2004, 2, 1)]


def test_a_reading_lies_in_the_month_it_was_recorded_in(db):
    device = DeviceFactory.create()
    first_of_april = datetime(2003, 4, 1, tzinfo=UTC)
    before = store_reading(device, recorded_at=first_of_april - MICROSECOND)
    after = store_reading(device, recorded_at=first_of_april)
    assert partition_of(before) == "telemetry_2003_03"
    assert partition_of(after) == "telemetry_2003_04"


def test_there_is_no_partition_for_what_fits_no_other(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT partdefid FROM pg_partitioned_table WHERE partrelid = 'telemetry'::regclass"
        )
        assert cursor.fetchone() == (0,)


def test_a_partition_has_the_key_of_the_table_and_no_other_index(db):
    partitions.ensure([date(2003, 4, 1)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'telemetry_2003_04'")
        ((definition,),) = cursor.fetchall()
    assert definition.startswith("CREATE UNIQUE INDEX")
    assert definition.endswith("USING btree (device_id, recorded_at, id)")


@pytest.mark.django_db(transaction=True)
def test_of_many_who_make_a_month_at_once_one_does():
    month = date(2002, 8, 1)
    try:
        outcomes = at_once(*[lambda: partitions.ensure([month])] * 8)
        assert sorted(outcomes) == [[]] * 7 + [[month]]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS telemetry_2002_08")
