"""Concurrent calls."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection

from tests.waits import TIMEOUT_SECONDS


def run_concurrently(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at the same time, each in its own thread and database connection.

    Returns the result of each call, or the exception that it raised, in the given order.
    """
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            start.wait(timeout=TIMEOUT_SECONDS)
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
