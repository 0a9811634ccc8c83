"""Charts, history, retention, purges and exports over partitions of years, of months, and of the
rest of a year that has months.
"""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from unittest import mock

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from devices import services as device_services
from telemetry.ingest import storage
from telemetry.models import DayRollup, HourRollup, Telemetry
from telemetry.queries import history, storage_stats
from telemetry.retention import apply as expiry
from telemetry.retention import partitions, purge
from telemetry.retention.partitions import Partition
from telemetry.rollups import build as rollups
from telemetry.transfer import export
from tests.factories import DeviceFactory, make_reading
from tests.telemetry.old_partitions import drop_old_partitions
from tests.telemetry.retention_rules import create_rule, set_rolled_up
from tests.telemetry.rollup_state import create_keys, set_rollup_watermark, stored_rollups
from tests.telemetry.series_queries import DAYS, HOURS, query_series

NOW = datetime(2005, 6, 15, 12, tzinfo=UTC)
HOUR, DAY, MICROSECOND = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
BEGIN = datetime(2001, 1, 1, tzinfo=UTC)
YEAR = Partition(date(2002, 1, 1), date(2003, 1, 1))
# The bounds of years and months, and of the gaps around June in 2003.
EDGES = [
    datetime(year, month, 1, tzinfo=UTC)
    for year, month in [(2002, 1), (2003, 1), (2003, 6), (2003, 7), (2004, 1), (2004, 2), (2005, 6)]
]
instants = st.one_of(
    st.builds(
        lambda edge, shift: edge + shift * MICROSECOND,
        st.sampled_from(EDGES),
        st.sampled_from([-3_600_000_000, -1, 0, 1]),
    ),
    st.integers(0, (NOW - BEGIN) // MICROSECOND - 1).map(lambda n: BEGIN + n * MICROSECOND),
)
sent = st.lists(st.tuples(instants, st.integers(-1000, 1000)), min_size=1, max_size=25)


def make_a_month_of_2003():
    partitions.ensure([date(2003, 6, 1)], now=datetime(2003, 6, 1, tzinfo=UTC))


def store(device, given):
    storage.store(
        device,
        [make_reading(device, recorded_at=at, payload={"t": value}) for at, value in given],
        now=NOW,
    )


def rows(device):
    """Return the time and the value of each reading, sorted by time and id."""
    found = Telemetry.objects.filter(device=device).order_by("recorded_at", "id")
    return list(found.values_list("recorded_at", "payload__t"))


def sql_aggregates(device, unit, start, end):
    """Return by bucket the count, sum, min and max, computed by plain SQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT date_trunc(%s, recorded_at, 'UTC'), count(*), sum(value), min(value), max(value)
            FROM (SELECT recorded_at, (payload->>'t')::float AS value FROM telemetry
                WHERE device_id = %s AND recorded_at >= %s AND recorded_at < %s) AS readings
            GROUP BY 1
            """,
            [unit, device.pk, start, end],
        )
        return {bucket: tuple(rest) for bucket, *rest in cursor.fetchall()}


def pages(device, **how):
    """Return all of the history, in pages of three readings."""
    page = history.page(device, limit=3, **how)
    yield from page.readings
    while page.next:
        page = history.page(device, limit=3, cursor=page.next, **how)
        yield from page.readings


class TestYearsAndMonths(TestCase):
    @classmethod
    def setUpTestData(cls):
        make_a_month_of_2003()

    @settings(max_examples=25)
    @given(sent, st.tuples(instants, instants), st.sampled_from(["hour", "day"]))
    def test_charts_rollups_and_history_equal_plain_sql(self, given, span, unit):
        device = DeviceFactory.create()
        create_keys(device, "environment.t")
        set_rollup_watermark(BEGIN)
        store(device, given)
        start, end = sorted(span)
        step = {"hour": HOURS, "day": DAYS}[unit]
        end = min(end, start + 1500 * timedelta(seconds=step))
        expected = sql_aggregates(device, unit, start, end)
        for done in (False, True):
            if done:
                rollups.process_queue()
                set_rollup_watermark(NOW - 3 * HOUR)
                rollups.roll_up_closed_hours(NOW + HOUR)
            found = query_series(device, start=start, end=end, step=step)
            columns = found.columns["environment.t"]
            values = zip(columns.count, columns.min, columns.max, strict=True)
            shown = {at: one for at, one in zip(found.timestamps, values, strict=True) if one[0]}
            assert shown == {
                bucket.timestamp(): (count, least, most)
                for bucket, (count, _, least, most) in expected.items()
            }
        for model, name in ((HourRollup, "hour"), (DayRollup, "day")):
            assert stored_rollups(model, device, "environment.t") == sql_aggregates(
                device, name, BEGIN, NOW
            )
        inside = [row for row in rows(device) if start <= row[0] < end]
        read = [
            (one.recorded_at, one.payload["t"])
            for one in pages(device, start=start, end=end, ascending=True)
        ]
        assert read == inside
        newest_first = [one.recorded_at for one in pages(device, start=start, end=end)]
        assert newest_first == [at for at, _ in reversed(inside)]
        (latest,) = history.latest_readings([device])[device.pk]
        assert (latest.recorded_at, latest.payload["t"]) == rows(device)[-1]
        assert history.get(device, latest.pk).recorded_at == latest.recorded_at

    @settings(max_examples=25)
    @given(sent, sent, st.integers(1, 1700), st.integers(1, 4))
    def test_a_rule_of_one_device_deletes_only_its_readings(self, own, others, age, batch):
        device, other = DeviceFactory.create_batch(2)
        store(device, own)
        store(other, others)
        set_rolled_up(NOW)
        create_rule(age, device=device)
        cutoff = NOW.replace(hour=0) - age * DAY
        kept = [row for row in rows(device) if row[0] >= cutoff]
        there, untouched, going = (
            partitions.list_months(),
            rows(other),
            len(rows(device)) - len(kept),
        )
        with mock.patch.object(purge, "BATCH_SIZE", batch):
            assert sum(gone.rows for gone in expiry.apply(NOW)) == going
        assert (rows(device), rows(other)) == (kept, untouched)
        # Another device keeps all older readings, so no partition is dropped by age.
        assert partitions.list_months() == there
        partitions.drop_empty(NOW)
        assert (rows(device), rows(other)) == (kept, untouched)

    @settings(max_examples=25)
    @given(sent, st.integers(1, 1700))
    def test_a_rule_for_all_devices_drops_the_partitions_older_than_its_age(self, given, age):
        device = DeviceFactory.create()
        store(device, given)
        set_rolled_up(NOW)
        create_rule(age)
        cutoff = NOW.replace(hour=0) - age * DAY
        before, kept = partitions.list_months(), [row for row in rows(device) if row[0] >= cutoff]
        going = [one for one in before if one.end <= cutoff]
        assert expiry.preview(NOW).partitions == going
        with mock.patch.object(partitions, "RETRY_DELAYS_SECONDS", ()):
            gone = sum((Counter({one.table: one.rows}) for one in expiry.apply(NOW)), Counter())
        assert gone["telemetry"] == len(set(given)) - len(kept)
        assert rows(device) == kept
        assert partitions.list_months() == [one for one in before if one not in going]

    @settings(max_examples=15)
    @given(sent)
    def test_a_purge_deletes_all_readings_of_a_device(self, given):
        device, other = DeviceFactory.create_batch(2)
        store(device, given)
        store(other, given[:1])
        device_services.soft_delete(device, now=NOW)
        with mock.patch.object(purge, "BATCH_SIZE", 2):
            list(purge.purge_device(device))
        assert list(Telemetry.objects.values_list("device", flat=True)) == [other.pk]


def test_the_partition_of_a_year_is_dropped_only_when_all_of_it_has_expired(device):
    times = [YEAR.start, YEAR.end - MICROSECOND]
    store(device, [(at, 1) for at in times])
    set_rolled_up(NOW)
    midnight = NOW.replace(hour=0)
    rule = create_rule((midnight - YEAR.end).days + 1)
    assert YEAR not in expiry.preview(NOW).partitions
    list(expiry.apply(NOW))
    assert [at for at, _ in rows(device)] == times[1:]
    assert YEAR in partitions.list_months()
    rule.raw_days -= 1
    rule.save()
    assert YEAR in expiry.preview(NOW).partitions
    list(expiry.apply(NOW))
    assert YEAR not in partitions.list_months()


def test_bytes_are_counted_by_partition_and_growth_by_months_only(device):
    may = Partition(date(2005, 5, 1), date(2005, 6, 1))
    for start in (datetime(2005, 5, 1, tzinfo=UTC), YEAR.start):
        store(device, [(start + timedelta(seconds=n), n) for n in range(2000)])
    sizes = storage_stats.sizes()
    stored = dict(sizes.partitions)
    assert stored[YEAR] > 200_000
    assert dict(sizes.tables)["telemetry"] == sum(stored.values())
    assert not [name for name, _ in sizes.tables if name.startswith("telemetry_2")]
    assert [one for one, _ in sizes.partitions] == sorted(partitions.list_months(), reverse=True)
    assert storage_stats.daily_growth(sizes, NOW) == stored[may] / 31
    only_years = sizes._replace(partitions=[(YEAR, 10**9)])
    assert storage_stats.daily_growth(only_years, datetime(2002, 2, 10, tzinfo=UTC)) is None


@pytest.mark.django_db(transaction=True)
def test_an_export_contains_both_kinds_of_partitions_in_order():
    try:
        make_a_month_of_2003()
        device = DeviceFactory.create()
        times = sorted(edge + shift * MICROSECOND for edge in EDGES for shift in (-1, 0, 1))
        store(device, [(at, n) for n, at in enumerate(reversed(times))])
        lines = b"".join(
            export.export_readings(export.Selection(device), format="ndjson")
        ).splitlines()
        assert [json.loads(line)["payload"]["t"] for line in lines] == [
            *reversed(range(len(times)))
        ]
    finally:
        drop_old_partitions()
