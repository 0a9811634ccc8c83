"""The one connection over which PostgreSQL tells what has happened."""

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
"""Seconds without a word after which the server is asked whether it is still there."""
PING_TIMEOUT = 5.0
"""Seconds it has to answer."""
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to reach it, which begin closer together."""


async def listen(
    database: DatabaseExecutor,
    *,
    hear: Callable[[Event], None],
    missed: Callable[[], Awaitable[None]],
) -> None:
    """Hear every event from now on, until cancelled.

    `missed` is called when listening has begun, and each time it has begun anew: whatever happened
    before that nobody has told.
    """
    pause = 0.1
    while True:
        try:
            parameters = await database.run(_parameters)
            async with await psycopg.AsyncConnection.connect(
                **parameters, autocommit=True
            ) as listening:
                await listening.execute(f"LISTEN {CHANNEL}")
                await missed()
                pause = 0.1
                await _dispatch(listening, hear)
        except (psycopg.Error, Error, TimeoutError) as error:
            logger.warning("not listening for %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _dispatch(listening: psycopg.AsyncConnection[Any], hear: Callable[[Event], None]) -> None:
    while True:
        async for notification in listening.notifies(timeout=IDLE_TIMEOUT):
            try:
                hear(Event.parse(notification.payload))
            except InvalidEvent:
                logger.warning("not an event: %s", notification.payload)
        # A connection that a firewall has forgotten would be silent for ever.
        await asyncio.wait_for(listening.execute("SELECT"), PING_TIMEOUT)


def _parameters() -> dict[str, Any]:
    """How the site connects, without what makes its connections Django's."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters
