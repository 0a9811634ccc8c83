"""The worker process: one procrastinate worker for each queue, and the retry of stalled jobs.

The queues do not wait for each other: a mail server that does not answer delays only mail, and an
archive that takes an hour delays only archives, as each kind of long job has a place of its own.
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
"""How many jobs of each queue run at once. "long" has a place for each `lock` of its tasks, and
each of its tasks has a lock: so no long job waits for another kind."""
LISTENED = {"mail", "default"}
"""The queues whose jobs start at once; those of the others within five seconds."""
CONNECTIONS = len(LISTENED) + 2
"""Connections for the tables of jobs: one to listen for each queue, the rest for all statements."""
RETRY_EVERY = 15.0
"""Seconds between two searches for stalled jobs."""
PATIENCE = 7.0
"""Seconds from the signal to stop until the process exits, whatever runs. The supervisor kills it
after 10, Docker Compose after 30, systemd after 60."""


def run() -> bool:
    """Run jobs until SIGINT or SIGTERM; return False if the worker stopped for another reason."""
    connector = PsycopgConnector(kwargs=connector_params(), min_size=1, max_size=CONNECTIONS)
    with app.replace_connector(connector):
        return asyncio.run(_run())


async def _run() -> bool:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, told)
    # The default executor has fewer threads on a small machine: long jobs could take all of them.
    loop.set_default_executor(ThreadPoolExecutor(sum(QUEUES.values()), "job"))
    async with app.open_async():
        workers = [
            asyncio.create_task(
                app.run_worker_async(
                    name=queue,
                    queues=[queue],
                    concurrency=places,
                    listen_notify=queue in LISTENED,
                    install_signal_handlers=False,
                    # Running jobs learn at once that they are to stop (context.should_abort).
                    shutdown_graceful_timeout=0,
                    stalled_worker_timeout=jobs.STALLED_AFTER,
                    task_middleware=[_close_connections],
                )
            )
            for queue, places in QUEUES.items()
        ]
        others = [asyncio.create_task(told.wait()), asyncio.create_task(_retry_stalled())]
        await asyncio.wait([*workers, *others], return_when=asyncio.FIRST_COMPLETED)
        if not told.is_set():
            # One of them has failed: no job of another queue keeps the process from a new start.
            _exit_in_time()
        for task in (*workers, *others):
            # Cancelled once: a worker then takes no job any more and waits for those that run.
            task.cancel()
        for ending in await asyncio.gather(*workers, *others, return_exceptions=True):
            if isinstance(ending, Exception):
                logger.error("the worker stopped", exc_info=ending)
    return told.is_set()


def _stop(told: asyncio.Event) -> None:
    """Have the workers stop, and end the process after PATIENCE if a job still runs."""
    if not told.is_set():
        told.set()
        _exit_in_time()


def _exit_in_time() -> None:
    timer = threading.Timer(PATIENCE, _exit)
    timer.daemon = True
    timer.start()


def _exit() -> None:
    """End the process with its jobs; their transactions are rolled back, the jobs retried."""
    logger.warning("a job still runs %s s after the signal to stop; it is retried later", PATIENCE)
    os._exit(0)


async def _retry_stalled() -> None:
    """Retry stalled jobs now and every RETRY_EVERY seconds; no queue and no job delays this."""
    while True:
        try:
            await sync_to_async(_on_own_connection, thread_sensitive=True)(jobs.retry_stalled)
        except Error:
            logger.exception("stalled jobs could not be retried")
        await asyncio.sleep(RETRY_EVERY)


def _close_connections(call_next: Callable[[], Any], context: JobContext, worker: Worker) -> Any:
    """Run a job and close the database connection of its thread, which would stay open for days."""
    return _on_own_connection(call_next)


def _on_own_connection(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        connections.close_all()
