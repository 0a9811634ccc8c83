"""The cache of tokens and keys."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.random_cache import RandomCache


@pytest.mark.parametrize(("clients", "found"), [(1000, 1.0), (1100, 0.7), (2000, 0.15)])
def test_clients_that_come_in_turn_are_found_though_there_are_more_than_places(clients, found):
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
def test_it_holds_at_most_its_size_and_never_another_value(size: int, stored: Any) -> None:
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
