"""The LISTEN connection to PostgreSQL, which delivers the events."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from django.db import Error, connection

from devices.events import CHANNEL, Event, InvalidEvent
from telemetry_site.live.db_executor import DatabaseExecutor

logger = logging.getLogger(__name__)

IDLE_TIMEOUT = 10.0
"""Seconds without a notification after which the connection is checked."""
PING_TIMEOUT = 5.0
"""Seconds that PostgreSQL has to respond to this check."""
MAX_RETRY_DELAY = 5.0
"""Maximum seconds between two attempts to connect; the first pauses are shorter."""


async def listen(
    database: DatabaseExecutor,
    *,
    on_event: Callable[[Event], None],
    on_reconnect: Callable[[], Awaitable[None]],
) -> None:
    """Call `on_event` for every event, until cancelled.

    `on_reconnect` is called each time LISTEN has succeeded, also the first time: events before that
    were not received.
    """
    pause = 0.1
    while True:
        try:
            parameters = await database.run(_parameters)
            async with await psycopg.AsyncConnection.connect(
                **parameters, autocommit=True
            ) as listener:
                await listener.execute(f"LISTEN {CHANNEL}")
                await on_reconnect()
                pause = 0.1
                await _dispatch(listener, on_event)
        except (psycopg.Error, Error, TimeoutError) as error:
            logger.warning("not listening for %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_RETRY_DELAY)


async def _dispatch(
    listener: psycopg.AsyncConnection[Any], on_event: Callable[[Event], None]
) -> None:
    while True:
        async for notification in listener.notifies(timeout=IDLE_TIMEOUT):
            try:
                on_event(Event.parse(notification.payload))
            except InvalidEvent:
                logger.warning("not an event: %s", notification.payload)
        # A firewall may have dropped the connection; without traffic this is never noticed.
        await asyncio.wait_for(listener.execute("SELECT"), PING_TIMEOUT)


def _parameters() -> dict[str, Any]:
    """Return the site's connection parameters without those that are specific to Django."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters
