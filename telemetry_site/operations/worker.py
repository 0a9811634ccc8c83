"""The worker process: one procrastinate worker for each queue, and the retry of stalled jobs.

The queues do not block each other: a mail server that does not respond delays only mail. A data
export that takes an hour delays only data exports, because each kind of long job has its own slot.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error, connections
from procrastinate import JobContext
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.worker import Worker

from telemetry_site.operations import jobs

logger = logging.getLogger(__name__)

QUEUES = {"mail": 1, "default": 1, "long": 4}
"""How many jobs of each queue run at a time. All tasks of "long" have a `lock`, and "long" has a
slot for each of these locks: so no long job waits for one of another kind.
"""
LISTENED = {"mail", "default"}
"""The queues whose jobs start immediately; jobs of the others start within five seconds."""
CONNECTIONS = len(LISTENED) + 2
"""Connections for the tables of jobs: one to LISTEN per queue, the rest for all statements."""
RETRY_INTERVAL_SECONDS = 15.0
"""Seconds between two searches for stalled jobs."""
EXIT_TIMEOUT_SECONDS = 7.0
"""Seconds from the signal until the process exits, even if a job runs. The supervisor kills it
after 10, Docker Compose after 30, systemd after 60.
"""


def run() -> bool:
    """Run jobs until SIGINT or SIGTERM; return False if the worker stopped for another reason."""
    connector = PsycopgConnector(kwargs=connector_params(), min_size=1, max_size=CONNECTIONS)
    with app.replace_connector(connector):
        return asyncio.run(_run())


async def _run() -> bool:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopping)
    # The default executor has fewer threads on a small machine: long jobs could use all of them.
    loop.set_default_executor(ThreadPoolExecutor(sum(QUEUES.values()), "job"))
    async with app.open_async():
        workers = [
            asyncio.create_task(
                app.run_worker_async(
                    name=queue,
                    queues=[queue],
                    concurrency=slots,
                    listen_notify=queue in LISTENED,
                    install_signal_handlers=False,
                    # Running jobs see immediately that they must stop (context.should_abort).
                    shutdown_graceful_timeout=0,
                    stalled_worker_timeout=jobs.STALLED_AFTER,
                    task_middleware=[_close_connections],
                )
            )
            for queue, slots in QUEUES.items()
        ]
        others = [asyncio.create_task(stopping.wait()), asyncio.create_task(_retry_stalled())]
        await asyncio.wait([*workers, *others], return_when=asyncio.FIRST_COMPLETED)
        if not stopping.is_set():
            # A task has failed: exit soon and restart, even if jobs of other queues still run.
            _exit_after_timeout()
        for task in (*workers, *others):
            # After the first cancel() a worker starts no new job and waits for its running ones.
            task.cancel()
        for result in await asyncio.gather(*workers, *others, return_exceptions=True):
            if isinstance(result, Exception):
                logger.error("the worker stopped", exc_info=result)
    return stopping.is_set()


def _stop(stopping: asyncio.Event) -> None:
    """Stop the workers, and exit after EXIT_TIMEOUT_SECONDS if a job still runs."""
    if not stopping.is_set():
        stopping.set()
        _exit_after_timeout()


def _exit_after_timeout() -> None:
    timer = threading.Timer(EXIT_TIMEOUT_SECONDS, _exit)
    timer.daemon = True
    timer.start()


def _exit() -> None:
    """Exit although jobs run: their transactions are rolled back, and the jobs are retried."""
    logger.warning(
        "a job still runs %s s after the signal to stop; it is retried later", EXIT_TIMEOUT_SECONDS
    )
    os._exit(0)


async def _retry_stalled() -> None:
    """Retry stalled jobs now and every RETRY_INTERVAL_SECONDS, independent of all queues."""
    while True:
        try:
            await sync_to_async(_on_own_connection, thread_sensitive=True)(jobs.retry_stalled)
        except Error:
            logger.exception("stalled jobs could not be retried")
        await asyncio.sleep(RETRY_INTERVAL_SECONDS)


def _close_connections(call_next: Callable[[], Any], context: JobContext, worker: Worker) -> Any:
    """Run a job, then close the database connection of its thread; otherwise it would stay open for
    days.
    """
    return _on_own_connection(call_next)


def _on_own_connection(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        connections.close_all()
