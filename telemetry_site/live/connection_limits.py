"""Limits on the number of pending requests: in total, per user, and per IP address of a client."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings
from rest_framework import exceptions

from accounts.throttling import client_network

MAX_STREAMS_PER_USER = 50
RETRY_AFTER = 15
"""Seconds after which a rejected client may try again."""


class TooManyConnections(exceptions.APIException):
    """The user or the IP address has reached its limit of requests in progress."""

    status_code = 429
    wait = RETRY_AFTER


class ServerFull(exceptions.APIException):
    """The process has reached its limit of pending requests."""

    status_code = 503
    default_detail = "Too many open live connections. Try again later."
    wait = RETRY_AFTER


class ConnectionLimits:
    """Counts the requests in progress."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[object, ...]] = Counter()

    @contextmanager
    def for_ip_address(self, ip_address: str | None) -> Iterator[None]:
        """Count a request of this IP address, before authentication. Raises TooManyConnections."""
        error = TooManyConnections("Too many requests from your IP address are in progress.")
        limit = settings.LIVE_CONNECTIONS_PER_ADDRESS
        with self._count(("ip_address", client_network(ip_address)), limit, error):
            yield

    @contextmanager
    def for_user(self, user_id: UUID) -> Iterator[None]:
        """Count a stream of the user, or a poll of one of the user's devices.

        Raises TooManyConnections or ServerFull.
        """
        error = TooManyConnections(
            "Too many requests of this user and their devices are in progress."
        )
        limit = settings.LIVE_CONNECTIONS_PER_USER
        with (
            self._count(("user", user_id), limit, error),
            self._count(("all",), settings.LIVE_CONNECTIONS, ServerFull()),
        ):
            yield

    @contextmanager
    def for_stream(self, user_id: UUID) -> Iterator[None]:
        """Count a stream of the user, and count it as a request of the user too.

        Raises TooManyConnections or ServerFull.
        """
        error = TooManyConnections("This user has too many open event streams.")
        with self._count(("streams", user_id), MAX_STREAMS_PER_USER, error), self.for_user(user_id):
            yield

    @contextmanager
    def _count(self, key: tuple[object, ...], limit: int, error: Exception) -> Iterator[None]:
        if self._counts[key] >= limit:
            raise error
        self._counts[key] += 1
        try:
            yield
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
