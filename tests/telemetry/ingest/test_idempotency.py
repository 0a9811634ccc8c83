"""A reading is stored once, in any order, number of repetitions and way of storing."""

from datetime import timedelta
from random import Random
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from telemetry.ingest import storage
from telemetry.models import Telemetry
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, make_reading

COPIED, INSERTED = 1, 10**9
"""Values of COPY_THRESHOLD."""


def known_readings(device, count):
    """Return readings, some of the same time and some of other months."""
    return [
        make_reading(
            device,
            payload={"n": number},
            recorded_at=NOW + timedelta(days=3) * (number // 2 % 20),
            telemetry_type="even" if number % 2 else "odd",
        )
        for number in range(count)
    ]


def rows():
    return sorted(Telemetry.objects.values_list("id", "recorded_at", "telemetry_type"))


class TestSequential(TestCase):
    @given(
        st.lists(
            st.tuples(st.sampled_from([COPIED, INSERTED]), st.lists(st.integers(0, 20))), max_size=6
        ),
        st.randoms(use_true_random=False),
    )
    def test_any_order_split_and_repetition_stores_the_same_rows(self, batches, random):
        device = DeviceFactory.create()
        known = known_readings(device, 21)
        accepted = 0
        for copy_from, batch in batches:
            with mock.patch.object(storage, "COPY_THRESHOLD", copy_from):
                stored = storage.store(device, [known[number] for number in batch], now=NOW)
            assert stored.accepted + stored.duplicates == len(batch)
            accepted += stored.accepted
        storage.store(device, random.sample(known, 21), now=NOW)
        expected = sorted((one.id, one.recorded_at, one.telemetry_type) for one in known)
        assert rows() == expected
        assert accepted == len({number for _, batch in batches for number in batch})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(5))
def test_concurrent_batches_of_different_sizes_store_each_reading_once(seed):
    shuffle = Random(seed)
    device = DeviceFactory.create()
    known = known_readings(device, 600)

    def sender(size):
        readings = shuffle.sample(known, len(known))
        batches = [readings[start : start + size] for start in range(0, len(readings), size)]
        return lambda: sum(storage.store(device, batch, now=NOW).accepted for batch in batches)

    outcomes = run_concurrently(*[sender(size) for size in (600, 600, 300, 60, 60, 20)])
    assert [outcome for outcome in outcomes if not isinstance(outcome, int)] == []
    assert sum(outcomes) == 600
    assert rows() == sorted((one.id, one.recorded_at, one.telemetry_type) for one in known)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("spread", [timedelta(0), timedelta(days=5)])
def test_duplicates_among_many_other_readings_are_found(spread):
    device = DeviceFactory.create()
    others = [make_reading(device, payload={"other": n}, recorded_at=NOW) for n in range(50)]
    sent = [make_reading(device, payload={"n": n}, recorded_at=NOW + spread * n) for n in range(5)]
    with mock.patch.object(storage, "COPY_THRESHOLD", COPIED):
        storage.store(device, others, now=NOW)
        assert storage.store(device, sent, now=NOW) == storage.StoreResult(5, 0)
        assert storage.store(device, [*sent, *others], now=NOW) == storage.StoreResult(0, 55)
