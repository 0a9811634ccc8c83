"""Database access for asynchronous code: a few threads with one connection each."""

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
    """Runs synchronous functions in its own threads, first in, first out."""

    def __init__(self, name: str, *, threads: int) -> None:
        self._thread_count = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread and return its result. Raises what `function` raises."""

        def run_with_clean_connection() -> T:
            # As before and after each request of the site: close a broken connection.
            close_old_connections()
            try:
                return function(*args, **kwargs)
            finally:
                close_old_connections()

        # Each call has its own context, so that the audit actor of one call is not that of another.
        call = partial(copy_context().run, run_with_clean_connection)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Finish the calls in progress, then close all connections and threads."""
        barrier = threading.Barrier(self._thread_count)

        def close_connection() -> None:
            # The barrier makes each worker thread run this once.
            barrier.wait()
            connection.close()

        for _ in range(self._thread_count):
            self._executor.submit(close_connection)
        self._executor.shutdown()
