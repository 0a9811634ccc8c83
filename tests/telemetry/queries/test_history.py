"""The history of a device: pages, single readings, latest readings, and query plans."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from telemetry.ingest import storage
from telemetry.models import Key, Telemetry
from telemetry.queries import history
from tests.factories import (
    NOW,
    DeviceFactory,
    make_reading,
    register_key,
    store_reading,
    store_readings,
)

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def all_pages(device, **how):
    found, cursor = [], ""
    while True:
        page = history.page(device, cursor=cursor, **how)
        assert len(page.readings) <= how["limit"]
        found += page.readings
        assert len(found) < 100, "pages without end"
        if page.next is None:
            return found
        assert len(page.readings) == how["limit"]
        cursor = page.next


class TestPages(TestCase):
    @given(
        st.lists(st.integers(0, 5), max_size=20),
        st.integers(1, 7),
        st.booleans(),
        st.sampled_from(["", "a", "b"]),
    )
    def test_pages_return_every_reading_exactly_once(self, seconds, limit, ascending, kind):
        device = DeviceFactory.create()
        # Many at the same time, which only their ids distinguish.
        batch = [
            make_reading(
                device,
                payload={"n": number},
                recorded_at=NOW + second * timedelta(days=10),
                telemetry_type="a" if number % 3 else "b",
            )
            for number, second in enumerate(seconds)
        ]
        storage.store(device, batch, now=NOW)
        expected = sorted(
            ((one.recorded_at, one.id) for one in batch if not kind or one.telemetry_type == kind),
            reverse=not ascending,
        )
        found = all_pages(device, limit=limit, ascending=ascending, telemetry_type=kind)
        assert [(one.recorded_at, one.id) for one in found] == expected


def test_a_reading_stored_between_two_pages_does_not_change_the_pages(device):
    store_readings(device, payloads=[{"n": number} for number in range(4)])
    first = history.page(device, limit=2)
    store_readings(device, payloads=[{"late": 1}], recorded_at=NOW + timedelta(hours=1))
    second = history.page(device, limit=2, cursor=first.next)
    assert [one.payload["n"] for one in first.readings + second.readings] == [3, 2, 1, 0]


def test_a_range_includes_its_start_and_excludes_its_end(device):
    store_readings(device, payloads=[{"n": number} for number in range(5)])
    found = history.page(device, limit=10, start=NOW + SECOND, end=NOW + 3 * SECOND).readings
    assert [one.payload["n"] for one in found] == [2, 1]


def test_a_page_contains_readings_of_one_device_only(device):
    store_reading(DeviceFactory.create())
    assert history.page(device, limit=10) == history.Page([], None)


def cursor_of(*parts):
    return base64.urlsafe_b64encode(struct.pack(">q16s", *parts)).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "AAAA",
        "=",
        "\0",
        "\u00e9",
        "\ud800",
        "A" * 64,
        cursor_of(0, b"")[:-4],
        cursor_of(2**63 - 1, b""),
        cursor_of(-(2**63), b""),
    ],
)
def test_an_invalid_cursor_is_rejected(device, cursor):
    with pytest.raises(history.InvalidCursor):
        history.page(device, limit=1, cursor=cursor)


def test_a_reading_is_found_by_its_id(device):
    reading = store_reading(device, recorded_at=NOW + timedelta(microseconds=999_999))
    assert history.get(device, reading.pk) == reading


@pytest.mark.parametrize("recorded_at", [NOW, NOW + timedelta(microseconds=999)])
def test_a_reading_at_either_end_of_its_ids_millisecond_is_found(device, recorded_at):
    reading = store_reading(device, recorded_at=recorded_at)
    assert history.get(device, reading.pk).recorded_at == recorded_at


@pytest.mark.parametrize(
    "number", [0, 1, 2**128 - 1, 0xE677D21FDC00 << 80, 0x019C13EC9E7B855D_A7ED51AF32F2ED25]
)
def test_an_unknown_id_is_not_found(device, number):
    store_reading(device)
    with pytest.raises(Telemetry.DoesNotExist):
        history.get(device, UUID(int=number))


def test_a_reading_of_another_device_is_not_found(device):
    reading = store_reading(DeviceFactory.create())
    with pytest.raises(Telemetry.DoesNotExist):
        history.get(device, reading.pk)


def test_the_latest_readings_are_the_newest_of_each_type_sorted_by_type(device):
    for kind, first in (("b", 0), ("a", 10), ("c", 5)):
        store_readings(
            device,
            payloads=[{"n": number} for number in range(3)],
            telemetry_type=kind,
            recorded_at=NOW + first * SECOND,
        )
    found = history.latest_readings([device])[device.pk]
    assert [(one.telemetry_type, one.payload) for one in found] == [
        ("a", {"n": 2}),
        ("b", {"n": 2}),
        ("c", {"n": 2}),
    ]


def test_of_two_readings_of_the_same_time_the_latest_is_the_one_with_the_greater_id(device):
    pair = [store_reading(device, payload={"n": number}) for number in range(2)]
    assert history.latest_readings([device])[device.pk] == [max(pair, key=lambda one: one.pk)]


def test_the_latest_readings_of_many_devices_without_rare_types_take_one_query(
    device, django_assert_num_queries
):
    devices = [device, *DeviceFactory.create_batch(3)]
    for one in devices[:3]:
        store_reading(one, payload={"of": str(one.pk)})
    with django_assert_num_queries(1):
        found = history.latest_readings(devices, include_rare_types=False)
    assert {key: [one.payload for one in of] for key, of in found.items()} == {
        one.pk: [{"of": str(one.pk)}] for one in devices[:3]
    }
    assert found[devices[3].pk] == []


def test_without_rare_types_the_latest_readings_are_searched_up_to_a_depth(device):
    store_reading(device, telemetry_type="rare", recorded_at=NOW - SECOND)
    store_readings(device, payloads=[{"n": number} for number in range(3)], telemetry_type="often")

    def types(depth):
        found = history.latest_readings([device], depth=depth, include_rare_types=False)
        return [one.telemetry_type for one in found[device.pk]]

    assert types(4) == ["often", "rare"]
    assert types(3) == ["often"]


def roll_up_to(hour):
    """Write what the rollup job writes, as far as `latest_readings` reads it."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_rolled_until SET hour = %s", [hour])
        cursor.execute(
            """
            UPDATE telemetry_keys AS known SET last_hour = (
                SELECT date_trunc('hour', max(recorded_at), 'UTC') FROM telemetry AS reading
                WHERE reading.device_id = known.device_id AND recorded_at < %s
                    AND reading.telemetry_type = known.telemetry_type AND payload ? known.key
            )
            """,
            [hour],
        )


class TestLatest(TestCase):
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 1),
                st.sampled_from(["a", "b", "c"]),
                st.sampled_from([{"n": 1}, {"m": True}, {"text": "on"}, {"n": 2, "m": 1}]),
                st.integers(0, 40 * 60),
            ),
            max_size=25,
        ),
        st.integers(0, 42),
        st.integers(1, 5),
    )
    def test_the_latest_readings_contain_the_newest_of_every_type_even_if_rare(
        self, sent, hours, depth
    ):
        devices = DeviceFactory.create_batch(2)
        batches = {device: [] for device in devices}
        for number, kind, payload, minutes in sent:
            time = NOW + timedelta(minutes=minutes)
            device = devices[number]
            batches[device].append(
                make_reading(device, payload=payload, recorded_at=time, telemetry_type=kind)
            )
        for device, batch in batches.items():
            storage.store(device, batch, now=NOW)
        roll_up_to(NOW + timedelta(hours=hours))
        found = history.latest_readings(devices, depth=depth)
        for device, batch in batches.items():
            newest = {}
            for one in sorted(batch, key=lambda one: (one.recorded_at, one.id)):
                newest[one.telemetry_type] = one.id
            assert [one.id for one in found[device.pk]] == [newest[kind] for kind in sorted(newest)]


def test_a_type_without_a_known_last_hour_is_left_out_instead_of_an_older_reading(device):
    store_readings(device, payloads=[{"n": number} for number in range(3)], telemetry_type="often")
    rare = [
        make_reading(
            device, telemetry_type="rare", recorded_at=NOW - hours * HOUR, payload={"n": 1}
        )
        for hours in (99, 50)
    ]
    storage.store(device, rare, now=NOW)
    roll_up_to(NOW)

    def found():
        return {
            one.telemetry_type: one.id
            for one in history.latest_readings([device], depth=3)[device.pk]
        }

    assert found()["rare"] == rare[1].id
    Key.objects.update(last_hour=None)
    assert set(found()) == {"often"}


def test_a_type_whose_readings_are_deleted_is_not_among_the_latest(device):
    register_key(device, "rare.temperature")
    assert history.latest_readings([device]) == {}


def test_without_rare_types_no_further_query_is_made(device, django_assert_num_queries):
    storage.store(device, [make_reading(device)], now=NOW)
    with django_assert_num_queries(2):
        assert len(history.latest_readings([device])[device.pk]) == 1


class Plans:
    """Collects the executed plan of every query."""

    def __init__(self):
        self.nodes = []

    def __call__(self, execute, sql, params, many, context):
        cursor = context["cursor"]
        execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params, many, context)
        self._collect(cursor.fetchone()[0][0]["Plan"])
        return execute(sql, params, many, context)

    def _collect(self, node):
        self.nodes.append(node)
        for inner in node.get("Plans", []):
            self._collect(inner)

    @property
    def kinds(self):
        return {node["Node Type"] for node in self.nodes}

    def visited(self, by="Scan"):
        """Return the months that were read; other months are empty and do not count."""
        read = {
            node["Relation Name"].removeprefix("telemetry_")
            for node in self.nodes
            if node.get("Actual Loops") and "Relation Name" in node and by in node["Node Type"]
        }
        return {name for name in read if "2025_06" <= name < "2025_10"}


class TestPlans:
    """Plans over four months of readings: the cost does not grow with the size of the table."""

    @pytest.fixture
    def busy(self, device):
        others = [one.pk for one in DeviceFactory.create_batch(4)]
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO telemetry
                SELECT uuidv8.id::uuid, device, 'environment', '{"t": 1}', at, at
                FROM unnest(%s::uuid[]) AS device,
                     generate_series(%s::timestamptz, %s, interval '45 minutes') AS at,
                     LATERAL (SELECT overlay(overlay(
                         lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
                         || md5(device::text || at::text) PLACING '8' FROM 13) PLACING '8' FROM 17)
                         AS digits) AS hashed,
                     LATERAL (SELECT left(digits, 32) AS id) AS uuidv8
                """,
                [[device.pk, *others], datetime(2025, 6, 1, tzinfo=UTC),
                 datetime(2025, 9, 30, tzinfo=UTC)],
            )  # fmt: skip
            cursor.execute("ANALYZE telemetry")
        return device

    def explained(self, ask):
        plans = Plans()
        with connection.execute_wrapper(plans):
            result = ask()
        assert "Merge Append" not in plans.kinds
        assert not plans.visited("Seq Scan")
        return result, plans

    def test_rare_types_are_searched_only_in_their_last_known_months(self, busy):
        rare = make_reading(
            busy, telemetry_type="rare", recorded_at=datetime(2025, 7, 5, tzinfo=UTC)
        )
        gone = make_reading(
            busy, telemetry_type="gone", recorded_at=datetime(2025, 6, 9, tzinfo=UTC)
        )
        storage.store(busy, [rare, gone], now=NOW)
        roll_up_to(datetime(2025, 9, 29, tzinfo=UTC))
        found, plans = self.explained(lambda: history.latest_readings([busy], depth=5))
        assert {one.id for one in found[busy.pk]} >= {rare.id, gone.id}
        assert plans.visited() == {"2025_06", "2025_07", "2025_09"}

    def test_the_newest_page_reads_the_primary_key_of_the_newest_month(self, busy):
        page, plans = self.explained(lambda: history.page(busy, limit=50))
        assert len(page.readings) == 50
        assert plans.visited() == {"2025_09"}
        assert "Append" in plans.kinds
        assert "Sort" not in plans.kinds

    def test_a_later_page_skips_the_months_after_its_cursor(self, busy):
        start = history.page(busy, limit=1, end=datetime(2025, 7, 10, tzinfo=UTC)).next
        page, plans = self.explained(lambda: history.page(busy, limit=50, cursor=start))
        assert len(page.readings) == 50
        assert plans.visited() == {"2025_07"}

    def test_the_oldest_page_reads_the_oldest_month(self, busy):
        _, plans = self.explained(lambda: history.page(busy, limit=50, ascending=True))
        assert plans.visited() == {"2025_06"}

    def test_a_later_page_in_ascending_order_skips_the_months_before_its_cursor(self, busy):
        start = datetime(2025, 7, 10, tzinfo=UTC)
        turn = history.page(busy, limit=1, start=start, ascending=True).next
        _, plans = self.explained(lambda: history.page(busy, limit=50, cursor=turn, ascending=True))
        assert plans.visited() == {"2025_07"}

    def test_a_range_reads_only_its_months(self, busy):
        start, end = datetime(2025, 7, 5, tzinfo=UTC), datetime(2025, 7, 6, tzinfo=UTC)
        page, plans = self.explained(lambda: history.page(busy, limit=50, start=start, end=end))
        assert len(page.readings) == 32
        assert plans.visited() == {"2025_07"}

    def test_a_lookup_by_id_reads_one_month(self, busy):
        wanted = history.page(busy, limit=1, end=datetime(2025, 7, 10, tzinfo=UTC)).readings[0]
        found, plans = self.explained(lambda: history.get(busy, wanted.pk))
        assert found == wanted
        assert plans.visited() == {"2025_07"}
