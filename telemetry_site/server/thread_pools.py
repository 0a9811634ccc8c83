"""Pools of threads, each for one kind of request.

A pool starts requests in turn: of the clients whose requests wait, each has one started before any
has a second one started. Neither a client nor an endpoint has all threads of a pool, so that
whatever takes long leaves a thread to the others.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread

from django.db import connections

from common.request_pools import REST, are_devices_sending

Work = Callable[[], object]


class PoolBusy(Exception):
    """The pool does not start the request in time. Nothing was done."""


@dataclass(frozen=True)
class Limits:
    """How a pool divides its threads."""

    threads: int
    per_client: int
    """Threads that the requests of one client may use."""
    per_endpoint: int
    """Threads that the requests to one endpoint may use."""
    patience: float
    """Seconds that a request may wait for a thread."""
    waiting: int = 1000
    """Requests that may wait."""
    waiting_per_client: int = 100
    """Requests of one client that may wait."""
    gives_way: bool = True
    """Whether a thread rests after its work while many devices send."""
    longest_rest: float = 4.0
    """Seconds."""


@dataclass(eq=False)
class _Job:
    client: Hashable
    endpoint: Hashable
    work: Work
    ended: asyncio.Future[None]
    timer: asyncio.TimerHandle | None = None


@dataclass
class Pool:
    """Threads and the requests that wait for them. All methods are called on the event loop."""

    name: str
    limits: Limits
    waiting: OrderedDict[Hashable, deque[_Job]] = field(default_factory=OrderedDict)
    """By client, the one that has waited longest for its turn first."""
    clients: Counter[Hashable] = field(default_factory=Counter)
    endpoints: Counter[Hashable] = field(default_factory=Counter)
    running: int = 0
    number_waiting: int = 0
    started: "SimpleQueue[Work | None]" = field(default_factory=SimpleQueue)
    """What the threads take; None ends one."""
    threads: list[Thread] = field(default_factory=list)

    async def run(self, work: Work, *, client: Hashable, endpoint: Hashable) -> None:
        """Run `work` in a thread and return when it has ended.

        Raises PoolBusy, and what `work` raises.
        """
        job = _Job(client, endpoint, work, asyncio.get_running_loop().create_future())
        if self._may_start(job):
            self._start(job)
        else:
            self._enqueue(job)
        await job.ended

    def shutdown(self) -> None:
        """Return when all threads have ended what they were doing."""
        for _ in self.threads:
            self.started.put(None)
        for thread in self.threads:
            thread.join()
        self.threads.clear()

    def _may_start(self, job: _Job) -> bool:
        return (
            self.running < self.limits.threads
            and self.clients[job.client] < self.limits.per_client
            and self.endpoints[job.endpoint] < self.limits.per_endpoint
        )

    def _start(self, job: _Job) -> None:
        self.running += 1
        self.clients[job.client] += 1
        self.endpoints[job.endpoint] += 1
        loop = job.ended.get_loop()
        begun = time.monotonic()

        def work() -> None:
            error: BaseException | None = None
            try:
                job.work()
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(self._end, job, error, begun)

        if self.running > len(self.threads):
            thread = Thread(target=self._work, name=self.name, daemon=True)
            self.threads.append(thread)
            thread.start()
        self.started.put(work)

    def _work(self) -> None:
        """What a thread does: it keeps its connection to the database from request to request."""
        while work := self.started.get():
            work()
        connections.close_all()

    def _end(self, job: _Job, error: BaseException | None, begun: float) -> None:
        if not job.ended.done():
            if error is None:
                job.ended.set_result(None)
            else:
                job.ended.set_exception(error)
        if self.limits.gives_way and are_devices_sending():
            rest = min(REST * (time.monotonic() - begun), self.limits.longest_rest)
            job.ended.get_loop().call_later(rest, self._release, job)
        else:
            self._release(job)

    def _release(self, job: _Job) -> None:
        """Let another request have the thread."""
        self.running -= 1
        for counter, key in ((self.clients, job.client), (self.endpoints, job.endpoint)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._start_next()

    def _enqueue(self, job: _Job) -> None:
        jobs = self.waiting.get(job.client)
        if jobs is not None and len(jobs) >= self.limits.waiting_per_client:
            raise PoolBusy
        if self.number_waiting >= self.limits.waiting:
            self._make_room(len(jobs or ()) + 1)
        self.waiting.setdefault(job.client, deque()).append(job)
        self.number_waiting += 1
        job.timer = job.ended.get_loop().call_later(self.limits.patience, self._give_up, job)

    def _make_room(self, wanted: int) -> None:
        """Give up the last request of the client that has most waiting, for one that has fewer.

        Raises PoolBusy if none has more than the client would have now.
        """
        jobs = max(self.waiting.values(), key=len)
        if len(jobs) <= wanted:
            raise PoolBusy
        job = jobs[-1]
        if job.timer is not None:
            job.timer.cancel()
        self._give_up(job)

    def _give_up(self, job: _Job) -> None:
        self._dequeue(job)
        if not job.ended.done():
            job.ended.set_exception(PoolBusy())

    def _dequeue(self, job: _Job) -> None:
        jobs = self.waiting[job.client]
        jobs.remove(job)
        self.number_waiting -= 1
        if not jobs:
            del self.waiting[job.client]

    def _start_next(self) -> None:
        """Start waiting requests while there are threads that may be used for them."""
        while self.running < self.limits.threads:
            job = next((job for jobs in self.waiting.values() if (job := self._first(jobs))), None)
            if job is None:
                return
            self._dequeue(job)
            if job.timer is not None:
                job.timer.cancel()
            if job.client in self.waiting:
                self.waiting.move_to_end(job.client)
            if not job.ended.done():
                self._start(job)

    def _first(self, jobs: deque[_Job]) -> _Job | None:
        """The first request of a client that may be started now."""
        if self.clients[jobs[0].client] >= self.limits.per_client:
            return None
        return next((job for job in jobs if self._may_start(job)), None)
