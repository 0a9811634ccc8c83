"""How requests share the threads of a pool."""

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import request_pools
from telemetry_site.server import thread_pools
from telemetry_site.server.thread_pools import Limits, Pool, PoolBusy

TIMEOUT_SECONDS = 120
LIMITS = Limits(threads=3, per_client=2, per_endpoint=2, timeout=TIMEOUT_SECONDS)


class Blocked:
    """Work that waits until the test lets it end."""

    def __init__(self) -> None:
        self.started, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.started.set()
        assert self.may_end.wait(TIMEOUT_SECONDS)


def in_pool(limits: Limits, scenario: Any) -> None:
    """Run a scenario on an event loop with a pool; shut the pool down at the end."""

    async def run() -> None:
        pool = Pool("tested", limits)
        await scenario(pool)
        pool.shutdown()

    asyncio.run(run())


async def started(*works: Blocked) -> None:
    for work in works:
        assert await asyncio.to_thread(work.started.wait, TIMEOUT_SECONDS)


def test_a_client_at_its_limit_leaves_a_thread_to_others():
    async def scenario(pool: Pool) -> None:
        blocked = [Blocked() for _ in range(5)]
        tasks = [
            asyncio.ensure_future(pool.run(work, client="hostile", endpoint=number))
            for number, work in enumerate(blocked)
        ]
        await started(*blocked[:2])
        await pool.run(lambda: None, client="honest", endpoint="other")
        assert not any(work.started.is_set() for work in blocked[2:])
        for work in blocked:
            work.may_end.set()
        await asyncio.gather(*tasks)

    in_pool(LIMITS, scenario)


def test_an_endpoint_at_its_limit_leaves_a_thread_to_others():
    async def scenario(pool: Pool) -> None:
        blocked = [Blocked() for _ in range(5)]
        tasks = [
            asyncio.ensure_future(pool.run(work, client=number, endpoint="slow"))
            for number, work in enumerate(blocked)
        ]
        await started(*blocked[:2])
        await pool.run(lambda: None, client="honest", endpoint="other")
        assert not any(work.started.is_set() for work in blocked[2:])
        for work in blocked:
            work.may_end.set()
        await asyncio.gather(*tasks)

    in_pool(LIMITS, scenario)


def test_clients_take_turns_for_any_number_of_waiting_requests():
    async def scenario(pool: Pool) -> None:
        order: list[str] = []
        first = Blocked()
        tasks = [asyncio.ensure_future(pool.run(first, client="hostile", endpoint=0))]
        await started(first)
        for client in ("hostile", "hostile", "hostile", "honest", "another"):
            work = pool.run(lambda client=client: order.append(client), client=client, endpoint=0)
            tasks.append(asyncio.ensure_future(work))
            await asyncio.sleep(0)
        first.may_end.set()
        await asyncio.gather(*tasks)
        assert order == ["hostile", "honest", "another", "hostile", "hostile"]

    in_pool(Limits(threads=1, per_client=1, per_endpoint=1, timeout=TIMEOUT_SECONDS), scenario)


def test_a_request_without_a_thread_in_time_is_rejected_and_not_started():
    async def scenario(pool: Pool) -> None:
        first, second = Blocked(), Blocked()
        task = asyncio.ensure_future(pool.run(first, client=1, endpoint=1))
        await started(first)
        with pytest.raises(PoolBusy):
            await pool.run(second, client=2, endpoint=2)
        first.may_end.set()
        await task
        await pool.run(lambda: None, client=3, endpoint=3)
        assert not second.started.is_set()

    in_pool(Limits(threads=1, per_client=1, per_endpoint=1, timeout=0.01), scenario)


def test_requests_over_the_queue_limit_are_rejected_immediately():
    limits = Limits(1, 1, 1, timeout=TIMEOUT_SECONDS, max_pending=3, max_pending_per_client=1)

    async def scenario(pool: Pool) -> None:
        first = Blocked()
        tasks = [asyncio.ensure_future(pool.run(first, client=1, endpoint=1))]
        await started(first)
        for client in (1, 2, 3):
            tasks.append(asyncio.ensure_future(pool.run(lambda: None, client=client, endpoint=1)))
            await asyncio.sleep(0)
        for client in (1, 4):
            with pytest.raises(PoolBusy):
                await pool.run(lambda: None, client=client, endpoint=1)
        first.may_end.set()
        await asyncio.gather(*tasks)

    in_pool(limits, scenario)


def test_an_exception_is_raised_and_its_thread_continues():
    async def scenario(pool: Pool) -> None:
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await pool.run(lambda: 1 // 0, client=1, endpoint=1)
        await pool.run(lambda: None, client=1, endpoint=1)

    in_pool(LIMITS, scenario)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_every_request_runs_once_and_no_limit_is_exceeded(
    requests: list[tuple[int, int]],
) -> None:
    lock, now, most, done = threading.Lock(), Counter[Any](), Counter[Any](), Counter[Any]()

    def work(number: int, keys: tuple[Any, ...]) -> None:
        with lock:
            for key in keys:
                now[key] += 1
                most[key] = max(most[key], now[key])
        with lock:
            done[number] += 1
            for key in keys:
                now[key] -= 1

    async def scenario(pool: Pool) -> None:
        await asyncio.gather(
            *(
                pool.run(
                    lambda n=number, c=client, e=endpoint: work(n, ("all", ("c", c), ("e", e))),
                    client=client,
                    endpoint=endpoint,
                )
                for number, (client, endpoint) in enumerate(requests)
            )
        )
        left = [pool.running, *pool.pending, *pool.clients, *pool.endpoints]
        assert left == [0]

    in_pool(LIMITS, scenario)
    assert done == Counter(range(len(requests)))
    assert most["all"] <= LIMITS.threads
    assert all(count <= 2 for key, count in most.items() if key != "all")


def test_while_many_devices_send_a_thread_pauses_after_its_work(monkeypatch):
    async def scenario(pool: Pool) -> None:
        monkeypatch.setattr(thread_pools, "are_devices_sending", lambda: True)
        first = Blocked()
        task = asyncio.ensure_future(pool.run(first, client=1, endpoint=1))
        await started(first)
        first.may_end.set()
        # The client has the response already; the thread does not take the next request yet.
        await task
        assert pool.running == 1
        await pool.run(lambda: None, client=2, endpoint=2)

    in_pool(Limits(threads=1, per_client=1, per_endpoint=1, timeout=TIMEOUT_SECONDS), scenario)


def test_while_few_devices_send_a_thread_does_not_pause(monkeypatch):
    async def scenario(pool: Pool) -> None:
        monkeypatch.setattr(thread_pools, "are_devices_sending", lambda: False)
        await pool.run(lambda: None, client=1, endpoint=1)
        assert pool.running == 0

    in_pool(LIMITS, scenario)


def test_pauses_begin_above_the_upper_threshold_and_end_below_the_lower_one(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(request_pools.time, "monotonic", lambda: now[0])

    def send(number: int) -> None:
        now[0] += request_pools.WINDOW_SECONDS
        for _ in range(number):
            request_pools.record_device_request()

    def are_many_after(*numbers: int) -> bool:
        for number in numbers:
            send(number)
        return request_pools.are_devices_sending()

    many, few = request_pools.BUSY_THRESHOLD, request_pools.QUIET_THRESHOLD
    assert not are_many_after(many - 1)
    assert not are_many_after(many - 1)
    assert are_many_after(many)
    # The pauses continue at the lower rate to which they slow the devices down.
    assert are_many_after(few, few, few)
    assert not are_many_after(few - 1, 0)
    assert not are_many_after(few)
    assert are_many_after(many)
    now[0] += 2 * request_pools.WINDOW_SECONDS
    assert not request_pools.are_devices_sending()


def test_a_full_queue_drops_a_request_of_the_client_with_the_most():
    limits = Limits(1, 1, 1, timeout=TIMEOUT_SECONDS, max_pending=4, max_pending_per_client=10)

    async def scenario(pool: Pool) -> None:
        first = Blocked()
        tasks = [asyncio.ensure_future(pool.run(first, client="hostile", endpoint=1))]
        await started(first)
        for client in ("hostile",) * 4 + ("honest",):
            tasks.append(asyncio.ensure_future(pool.run(lambda: None, client=client, endpoint=1)))
            await asyncio.sleep(0)
        first.may_end.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, PoolBusy) for one in ended] == [False] * 4 + [True, False]

    in_pool(limits, scenario)


def test_a_pause_has_a_maximum(monkeypatch):
    async def scenario(pool: Pool) -> None:
        monkeypatch.setattr(thread_pools, "are_devices_sending", lambda: True)
        monkeypatch.setattr(thread_pools, "PAUSE_FACTOR", 1e9)
        await pool.run(lambda: None, client=1, endpoint=1)
        await pool.run(lambda: None, client=2, endpoint=2)

    in_pool(Limits(1, 1, 1, timeout=TIMEOUT_SECONDS, max_rest=0.01), scenario)
