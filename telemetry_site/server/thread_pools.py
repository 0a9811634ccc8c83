"""Thread pools, each for one kind of request.

A pool starts pending requests round robin by client: one request of each client before the second
one of any client. Neither a client nor an endpoint can use all threads of a pool, so that slow
requests leave a thread for the others.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread

from django.db import connections

from common.request_pools import PAUSE_FACTOR, are_devices_sending

Work = Callable[[], object]


class PoolBusy(Exception):
    """The pool could not start the request in time; the request was not processed."""


@dataclass(frozen=True)
class Limits:
    """How a pool divides its threads."""

    threads: int
    per_client: int
    """Threads that the requests of one client may use."""
    per_endpoint: int
    """Threads that the requests to one endpoint may use."""
    timeout: float
    """Seconds that a request may be pending."""
    max_pending: int = 1000
    """Pending requests."""
    max_pending_per_client: int = 100
    """Pending requests of one client."""
    rests: bool = True
    """Whether a thread pauses after each request while many devices send."""
    max_rest: float = 4.0
    """Maximum seconds of such a pause."""


@dataclass(eq=False)
class _Job:
    client: Hashable
    endpoint: Hashable
    work: Work
    ended: asyncio.Future[None]
    timer: asyncio.TimerHandle | None = None


@dataclass
class Pool:
    """Threads and pending requests. All methods are called on the event loop."""

    name: str
    limits: Limits
    pending: OrderedDict[Hashable, deque[_Job]] = field(default_factory=OrderedDict)
    """Pending requests by client; the client whose turn is next comes first."""
    clients: Counter[Hashable] = field(default_factory=Counter)
    endpoints: Counter[Hashable] = field(default_factory=Counter)
    running: int = 0
    pending_count: int = 0
    started: "SimpleQueue[Work | None]" = field(default_factory=SimpleQueue)
    """The queue that the threads read; None ends a thread."""
    threads: list[Thread] = field(default_factory=list)

    async def run(self, work: Work, *, client: Hashable, endpoint: Hashable) -> None:
        """Run `work` in a thread and return when it has ended.

        Raises PoolBusy, or what `work` raises.
        """
        job = _Job(client, endpoint, work, asyncio.get_running_loop().create_future())
        if self._may_start(job):
            self._start(job)
        else:
            self._enqueue(job)
        await job.ended

    def shutdown(self) -> None:
        """Finish the requests in progress, then end all threads."""
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
        """Run requests until None comes. The thread keeps its database connection open."""
        while work := self.started.get():
            work()
        connections.close_all()

    def _end(self, job: _Job, error: BaseException | None, begun: float) -> None:
        if not job.ended.done():
            if error is None:
                job.ended.set_result(None)
            else:
                job.ended.set_exception(error)
        if self.limits.rests and are_devices_sending():
            rest = min(PAUSE_FACTOR * (time.monotonic() - begun), self.limits.max_rest)
            job.ended.get_loop().call_later(rest, self._release, job)
        else:
            self._release(job)

    def _release(self, job: _Job) -> None:
        """Free the thread and start pending requests."""
        self.running -= 1
        for counter, key in ((self.clients, job.client), (self.endpoints, job.endpoint)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._start_next()

    def _enqueue(self, job: _Job) -> None:
        jobs = self.pending.get(job.client)
        if jobs is not None and len(jobs) >= self.limits.max_pending_per_client:
            raise PoolBusy
        if self.pending_count >= self.limits.max_pending:
            self._make_room(len(jobs or ()) + 1)
        self.pending.setdefault(job.client, deque()).append(job)
        self.pending_count += 1
        job.timer = job.ended.get_loop().call_later(self.limits.timeout, self._reject, job)

    def _make_room(self, pending_of_client: int) -> None:
        """Reject the newest request of the client with the most pending requests.

        Raises PoolBusy if no client has more than `pending_of_client` requests.
        """
        jobs = max(self.pending.values(), key=len)
        if len(jobs) <= pending_of_client:
            raise PoolBusy
        job = jobs[-1]
        if job.timer is not None:
            job.timer.cancel()
        self._reject(job)

    def _reject(self, job: _Job) -> None:
        self._dequeue(job)
        if not job.ended.done():
            job.ended.set_exception(PoolBusy())

    def _dequeue(self, job: _Job) -> None:
        jobs = self.pending[job.client]
        jobs.remove(job)
        self.pending_count -= 1
        if not jobs:
            del self.pending[job.client]

    def _start_next(self) -> None:
        """Start pending requests as long as the limits allow it."""
        while self.running < self.limits.threads:
            job = next((job for jobs in self.pending.values() if (job := self._first(jobs))), None)
            if job is None:
                return
            self._dequeue(job)
            if job.timer is not None:
                job.timer.cancel()
            if job.client in self.pending:
                self.pending.move_to_end(job.client)
            if not job.ended.done():
                self._start(job)

    def _first(self, jobs: deque[_Job]) -> _Job | None:
        """Return the first request of a client that may be started now, or None."""
        if self.clients[jobs[0].client] >= self.limits.per_client:
            return None
        return next((job for job in jobs if self._may_start(job)), None)
