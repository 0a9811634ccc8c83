"""The database, for code that must not wait for it: a few threads with a connection each."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseExecutor:
    """Runs ordinary functions in threads of its own, in the order in which they come."""

    def __init__(self, name: str, *, threads: int) -> None:
        self._number = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns, or raises."""

        def tidily() -> T:
            # As at the begin and the end of a request: a connection that broke is not kept.
            close_old_connections()
            try:
                return work(*args, **kwargs)
            finally:
                close_old_connections()

        # A context of its own: who acts in one piece of work does not in the next.
        work_alone = partial(copy_context().run, tidily)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work_alone)

    def close(self) -> None:
        """Close every connection, once what is under way is done."""
        together = threading.Barrier(self._number)

        def leave() -> None:
            # None does two threads' part.
            together.wait()
            connection.close()

        for _ in range(self._number):
            self._threads.submit(leave)
        self._threads.shutdown()
