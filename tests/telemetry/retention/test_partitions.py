"""Creating and dropping partitions of the table of readings."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from django.db import connection, connections
from hypothesis import given
from hypothesis import strategies as st

from telemetry.ingest import storage
from telemetry.models import Telemetry
from telemetry.retention import partitions
from telemetry.retention.partitions import Partition
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, make_reading
from tests.telemetry.old_partitions import drop_old_partitions, months_since_2000

MICROSECOND = timedelta(microseconds=1)
LATER = datetime(2005, 11, 30, 23, 59, tzinfo=UTC)
"""At this time 2004 and 2005 are partitioned by month, and earlier years by year."""
YEAR = Partition(date(2003, 1, 1), date(2004, 1, 1))


def month(year, number):
    first = date(year, number, 1)
    return Partition(first, partitions.month_after(first))


def store(device, *times, now=LATER):
    storage.store(device, [make_reading(device, recorded_at=time) for time in times], now=now)


def of_year(year):
    return [one for one in partitions.list_months() if one.first.year == year]


@pytest.fixture(autouse=True)
def _no_waiting_for_partitions_in_use(monkeypatch):
    monkeypatch.setattr(partitions, "RETRY_DELAYS_SECONDS", ())


def bounds_of(name):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = to_regclass(%s)",
            [name],
        )
        row = cursor.fetchone()
    return row and row[0]


def tables(device):
    """Return the names of the partitions of the device's readings, by time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recorded_at, tableoid::regclass::text FROM telemetry WHERE device_id = %s",
            [device.pk],
        )
        return dict(cursor.fetchall())


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime(2003, 2, 28, 23, 59, 59, 999_999, UTC), date(2003, 2, 1)),
        (datetime(2003, 3, 1, tzinfo=UTC), date(2003, 3, 1)),
        (datetime(2003, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))), date(2003, 2, 1)),
        (datetime(2003, 12, 31, 23, 0, tzinfo=timezone(-timedelta(hours=1))), date(2004, 1, 1)),
    ],
)
def test_months_are_in_utc(time, expected):
    assert partitions.month_of(time) == expected


@pytest.mark.parametrize(
    ("first", "after"),
    [
        (date(2003, 1, 1), date(2003, 2, 1)),
        (date(2003, 11, 1), date(2003, 12, 1)),
        (date(2003, 12, 1), date(2004, 1, 1)),
    ],
)
def test_the_month_after_december_is_january(first, after):
    assert partitions.month_after(first) == after


@given(st.dates(date(2000, 1, 1), date(9998, 12, 1)))
def test_the_month_after_begins_on_its_first_day(day):
    first = day.replace(day=1)
    after = partitions.month_after(first)
    assert after.day == 1
    assert 28 <= (after - first).days <= 31


@pytest.mark.parametrize(
    ("asked", "now", "name", "start", "end"),
    [
        ("2003-12-01", LATER.replace(year=2003), "telemetry_2003_12", "2003-12-01", "2004-01-01"),
        ("2003-05-01", LATER.replace(year=2004), "telemetry_2003_05", "2003-05-01", "2003-06-01"),
        ("2003-05-01", LATER, "telemetry_2003_01_to_2003_12", "2003-01-01", "2004-01-01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
def test_a_partition_spans_months_in_utc_and_has_their_name(db, asked, now, name, start, end, zone):
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, true)", [zone])
    made = partitions.ensure([date.fromisoformat(asked)], now=now)
    assert [(str(one.first), str(one.after), one.name) for one in made] == [(start, end, name)]
    assert made == of_year(2003)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    assert bounds_of(name) == f"FOR VALUES FROM ('{start} 00:00:00+00') TO ('{end} 00:00:00+00')"


def test_an_existing_partition_is_not_created_again(db):
    months = [date(2004, 5, 1), date(2003, 4, 1), date(2004, 5, 1), date(2003, 6, 1)]
    assert partitions.ensure(months, now=LATER) == [YEAR, month(2004, 5)]
    assert partitions.ensure(months, now=LATER) == []
    assert partitions.ensure([], now=LATER) == []


def test_a_year_with_some_months_gets_partitions_for_the_gaps(db):
    partitions.ensure([date(2003, 3, 1), date(2003, 9, 1)], now=LATER.replace(year=2003))
    device = DeviceFactory.create()
    times = [datetime(2003, number, 28, tzinfo=UTC) for number in range(1, 13)]
    store(device, *times)
    assert [one.name for one in of_year(2003)] == [
        "telemetry_2003_01_to_2003_02",
        "telemetry_2003_03",
        "telemetry_2003_04_to_2003_08",
        "telemetry_2003_09",
        "telemetry_2003_10_to_2003_12",
    ]
    assert list(device.readings.order_by("recorded_at").values_list("recorded_at", flat=True)) == (
        times
    )


def test_a_month_inside_the_partition_of_a_year_is_not_created(db):
    """This happens after the clock was years ahead for a while."""
    assert partitions.ensure([date(2003, 11, 1)], now=LATER) == [YEAR]
    made = partitions.ensure_ahead(datetime(2003, 11, 30, tzinfo=UTC))
    assert made == [month(2004, 1), month(2004, 2)]


def test_this_month_and_the_next_three_are_created_in_advance(db):
    made = partitions.ensure_ahead(datetime(2003, 11, 30, 23, 59, tzinfo=UTC))
    assert made == [month(2003, 11), month(2003, 12), month(2004, 1), month(2004, 2)]


def test_a_reading_is_in_the_partition_of_its_recorded_time(db):
    device = DeviceFactory.create()
    new_year, april = datetime(2004, 1, 1, tzinfo=UTC), datetime(2004, 4, 1, tzinfo=UTC)
    times = [new_year - MICROSECOND, new_year, april - MICROSECOND, april]
    store(device, *times)
    names = ["2003_01_to_2003_12", "2004_01", "2004_03", "2004_04"]
    assert tables(device) == {
        time: f"telemetry_{name}" for time, name in zip(times, names, strict=True)
    }


class TestNumberOfPartitions:
    """Few partitions are created, for any number of months that a device sends."""

    NOW = datetime(2026, 11, 30, tzinfo=UTC)
    YEARS, MONTHS = 2025 - 2000, 12 + 11

    def test_readings_in_every_month_since_2000_create_few_partitions(
        self, db, device_api, device, monkeypatch
    ):
        monkeypatch.setattr("django.utils.timezone.now", lambda: self.NOW)
        for partition in partitions.list_months():
            partitions.drop(partition, confirm=lambda: True)
        times = months_since_2000(until=self.NOW)
        answer = device_api.post(
            "/api/v1/device/telemetry",
            [
                {"telemetry_type": "a", "payload": {"n": 1}, "recorded_at": time.isoformat()}
                for time in times
            ],
        )
        assert answer.status_code == 201
        assert len(partitions.list_months()) == self.YEARS + self.MONTHS
        assert set(Telemetry.objects.values_list("recorded_at", flat=True)) == set(times)

    @pytest.mark.parametrize("lonely", [0, 1])
    def test_a_year_has_at_most_one_partition_per_month(self, db, lonely):
        odd = [date(2003, number + lonely, 1) for number in range(1, 12, 2)]
        partitions.ensure(odd, now=LATER.replace(year=2003))
        partitions.ensure([date(2003, number, 1) for number in range(1, 13)], now=LATER)
        assert len(of_year(2003)) == 12


def test_there_is_no_default_partition(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT partdefid FROM pg_partitioned_table WHERE partrelid = 'telemetry'::regclass"
        )
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("first", [date(2003, 4, 1), date(2004, 4, 1)], ids=["year", "month"])
def test_a_partition_has_the_key_and_the_triggers_of_the_table(db, first):
    (made,) = partitions.ensure([first], now=LATER)
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [made.name])
        ((definition,),) = cursor.fetchall()
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal",
            [made.name],
        )
        assert cursor.fetchone() == (2,)
    assert definition.startswith("CREATE UNIQUE INDEX")
    assert definition.endswith("USING btree (device_id, recorded_at, id)")


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_create_a_partition_once():
    first = date(2002, 8, 1)
    try:
        outcomes = run_concurrently(*[lambda: partitions.ensure([first], now=LATER)] * 8)
        assert sorted(outcomes) == [[]] * 7 + [[Partition(date(2002, 1, 1), date(2003, 1, 1))]]
    finally:
        drop_old_partitions()


class TestDroppingEmptyPartitions:
    def test_old_partitions_without_readings_are_dropped_and_no_others(self, db):
        device = DeviceFactory.create()
        partitions.ensure_ahead(LATER)
        store(device, datetime(2003, 5, 1, tzinfo=UTC), datetime(2004, 5, 1, tzinfo=UTC))
        empty = [date(2001, 1, 1), date(2002, 1, 1), date(2004, 6, 1), date(2006, 3, 1)]
        made = partitions.ensure(empty, now=LATER)
        before = partitions.list_months()
        dropped = partitions.drop_empty(LATER)
        assert set(made) <= set(dropped)
        assert partitions.list_months() == [one for one in before if one not in dropped]
        ahead = [(2005, 11), (2005, 12), (2006, 1), (2006, 2)]
        assert partitions.list_months() == [YEAR, month(2004, 5), *(month(*one) for one in ahead)]
        assert device.readings.count() == 2

    def test_empty_partitions_of_a_purged_device_are_dropped(self, db):
        device = DeviceFactory.create()
        store(device, datetime(2003, 5, 1, tzinfo=UTC), datetime(2004, 5, 1, tzinfo=UTC))
        device.readings.all().delete()
        partitions.drop_empty(LATER)
        assert of_year(2003) == of_year(2004) == []

    def test_a_partition_whose_check_times_out_is_not_dropped(self, db, monkeypatch):
        partitions.ensure([YEAR.first], now=LATER)
        monkeypatch.setattr(partitions, "DROP_LOCK_TIMEOUT", "1ms")
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO telemetry
                SELECT gen_random_uuid(), %s, 'a', '{}', '2003-05-01Z', now()
                FROM generate_series(1, 30000)
                """,
                [DeviceFactory.create().pk],
            )
            cursor.execute("DELETE FROM telemetry")
        assert not partitions._is_empty(YEAR)
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() != ("1ms",)

    def test_dropping_stops_until_the_next_night_while_the_table_is_in_use(self, db, monkeypatch):
        made = partitions.ensure([date(2001, 1, 1), date(2002, 1, 1)], now=LATER)
        asked = []
        monkeypatch.setattr(partitions, "drop", lambda one, confirm: asked.append(one))
        assert partitions.drop_empty(LATER) == []
        assert asked == made[:1]


@pytest.mark.django_db(transaction=True)
class TestDroppingDuringIngest:
    OLD = datetime(2003, 5, 20, tzinfo=UTC)

    @pytest.fixture(autouse=True)
    def _drops_its_partitions(self, transactional_db):
        yield
        drop_old_partitions()
        partitions.ensure_ahead(NOW)
        partitions.ensure_ahead(datetime.now(UTC))

    def test_a_partition_with_an_uncommitted_reading_is_not_dropped(self, caplog):
        device = DeviceFactory.create()
        partitions.ensure([YEAR.first], now=LATER)
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(
                    "INSERT INTO telemetry VALUES (gen_random_uuid(), %s, 'a', '{}', %s, now())",
                    [device.pk, self.OLD],
                )
                with caplog.at_level(logging.WARNING):
                    assert YEAR not in partitions.drop_empty(LATER)
                assert "in use" in caplog.text
                cursor.execute("COMMIT")
        finally:
            other.close()
        assert YEAR not in partitions.drop_empty(LATER)
        assert device.readings.count() == 1

    def test_a_partition_with_a_reading_committed_before_the_lock_is_not_dropped(self, monkeypatch):
        device = DeviceFactory.create()
        partitions.ensure([YEAR.first], now=LATER)
        drop = partitions.drop

        def drop_late(partition, *, confirm):
            store(device, self.OLD)
            return drop(partition, confirm=confirm)

        monkeypatch.setattr(partitions, "drop", drop_late)
        assert partitions.drop_empty(LATER) == []
        assert tables(device) == {self.OLD: YEAR.name}

    @pytest.mark.parametrize("readings", [1, 2, storage.COPY_THRESHOLD])
    def test_a_reading_that_waits_for_the_drop_is_stored_after_it(self, readings):
        device = DeviceFactory.create()
        partitions.ensure([YEAR.first], now=LATER)
        times = [self.OLD + number * MICROSECOND for number in range(readings)]
        dropping = threading.Event()

        def send():
            try:
                assert dropping.wait(120)
                store(device, *times)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            sender = pool.submit(send)

            def confirm():
                dropping.set()
                with connection.cursor() as cursor:
                    waiting = 0
                    while not waiting and not sender.done():
                        cursor.execute(
                            "SELECT count(*) FROM pg_locks WHERE NOT granted"
                            " AND relation = 'telemetry'::regclass"
                        )
                        (waiting,) = cursor.fetchone()
                assert waiting
                return True

            assert partitions.drop(YEAR, confirm=confirm)
            sender.result(120)
        assert tables(device) == dict.fromkeys(times, YEAR.name)

    def test_concurrent_drops_and_ingest_lose_no_reading(self, monkeypatch):
        monkeypatch.setattr(partitions, "RETRY_DELAYS_SECONDS", [0.01] * 20)
        devices = DeviceFactory.create_batch(2)
        years = [self.OLD.replace(year=year) for year in (2001, 2002, 2003)]
        for round in range(5):
            Telemetry.objects.all().delete()
            times = [year + round * MICROSECOND for year in years]
            outcomes = run_concurrently(
                lambda: partitions.drop_empty(LATER),
                *[
                    lambda device=device, time=time: store(device, time)
                    for device in devices
                    for time in times
                ],
            )
            assert outcomes[1:] == [None] * 6
            for device in devices:
                assert sorted(tables(device)) == times
