"""Limits to how many requests wait at a time: in all, by user, and by client address."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings
from rest_framework import exceptions

from accounts.throttling import client_network

STREAMS_PER_USER = 50
RETRY_AFTER = 15
"""Seconds after which a client that was refused is to try again."""


class TooMany(exceptions.APIException):
    """A user or a client address has as many requests in progress as one may have."""

    status_code = 429
    wait = RETRY_AFTER


class Full(exceptions.APIException):
    """As many requests wait as this process may hold."""

    status_code = 503
    default_detail = "Too many clients wait here. Try again later."
    wait = RETRY_AFTER


class Places:
    """Counts the requests in progress."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[object, ...]] = Counter()

    @contextmanager
    def of_address(self, address: str | None) -> Iterator[None]:
        """Count a request of this client, before it is authenticated. Raises TooMany."""
        error = TooMany("Too many requests of your address are in progress.")
        most = settings.LIVE_CONNECTIONS_PER_ADDRESS
        with self._take(("address", client_network(address)), most, error):
            yield

    @contextmanager
    def of_user(self, user_id: UUID) -> Iterator[None]:
        """Count a stream of the user, or a poll of one of their devices. Raises TooMany, Full."""
        error = TooMany("Too many requests of this user and their devices are in progress.")
        most = settings.LIVE_CONNECTIONS_PER_USER
        with (
            self._take(("user", user_id), most, error),
            self._take(("all",), settings.LIVE_CONNECTIONS, Full()),
        ):
            yield

    @contextmanager
    def of_stream(self, user_id: UUID) -> Iterator[None]:
        """Count a stream, also among all of the user's requests. Raises TooMany, Full."""
        error = TooMany("This user has too many streams of events.")
        with self._take(("streams", user_id), STREAMS_PER_USER, error), self.of_user(user_id):
            yield

    @contextmanager
    def _take(self, key: tuple[object, ...], most: int, error: Exception) -> Iterator[None]:
        if self._taken[key] >= most:
            raise error
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
