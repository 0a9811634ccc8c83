"""The cache of tokens and keys, with random eviction."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.random_cache import RandomCache


@pytest.mark.parametrize(("clients", "found"), [(1000, 1.0), (1100, 0.7), (2000, 0.15)])
def test_the_hit_rate_with_more_keys_than_the_size_is_proportional(clients, found):
    cache: RandomCache[int, int] = RandomCache(1000)
    hits = 0
    for round in range(20):
        for client in range(clients):
            if cache.get(client) is None:
                cache.set(client, client)
            elif round >= 10:
                hits += 1
    assert hits / (10 * clients) >= found


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), st.integers())))
def test_the_cache_never_exceeds_its_size_or_returns_a_wrong_value(size: int, stored: Any) -> None:
    cache: RandomCache[int, int] = RandomCache(size)
    newest: dict[int, int] = {}
    for key, value in stored:
        cache.set(key, value)
        newest[key] = value
        assert cache.get(key) == value
        assert len(cache) <= size
    assert all(cache.get(key) in (None, value) for key, value in newest.items())
    assert sum(cache.get(key) is not None for key in newest) == len(cache)
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize("size", [0, -1])
def test_a_cache_of_size_zero_stores_nothing(size: int) -> None:
    cache: RandomCache[int, int] = RandomCache(size)
    cache.set(1, 1)
    assert cache.get(1) is None
    assert len(cache) == 0


def test_concurrent_threads_leave_the_cache_consistent() -> None:
    cache: RandomCache[int, int] = RandomCache(50)

    def set_and_get(seed: int) -> None:
        random_numbers = random.Random(seed)
        for _ in range(5000):
            key = random_numbers.randrange(100)
            cache.set(key, key)
            found = cache.get(random_numbers.randrange(100))
            assert found is None or found < 100

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(set_and_get, range(8)))
    assert len(cache) == 50
    assert sum(cache.get(key) == key for key in range(100)) == 50
