"""Who sends requests, as far as the front can tell them apart."""

import time
from collections import Counter
from collections.abc import Hashable
from math import ceil
from uuid import UUID

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest

from accounts import addresses
from accounts.models import User
from accounts.throttles import network
from telemetry_site.server.environ import Environ

REMEMBERED = 20_000


class TooManyRequests(Exception):
    """The client has sent more than REQUESTS_PER_CLIENT; nothing is done for `retry_after` s."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Clients:
    """Tells clients apart by their user, where an earlier request has told it; else by their token
    or session, else by their address.
    """

    def __init__(self) -> None:
        self.users: dict[int, UUID] = {}
        """By the hash of a token or session."""
        self.window = 0
        self.counts: Counter[Hashable] = Counter()
        """Requests of each client since the window began."""

    def count(self, client: Hashable) -> None:
        """Count a request. Raises TooManyRequests."""
        most, seconds = settings.REQUESTS_PER_CLIENT
        now = time.monotonic()
        if self.window != now // seconds:
            self.window = int(now // seconds)
            self.counts.clear()
        self.counts[client] += 1
        if self.counts[client] > most:
            raise TooManyRequests(ceil(seconds - now % seconds) or 1)

    def of(self, environ: Environ) -> Hashable:
        """Return the client that has sent a request."""
        credential = _credential(environ)
        if not credential:
            return network(addresses.of_environ(environ))
        return self.users.get(credential, credential)

    def learn(self, environ: Environ, request: WSGIRequest) -> None:
        """Remember whose token or session it is, from a request that has been answered."""
        credential = _credential(environ)
        if not credential or credential in self.users:
            return
        user = getattr(request, "_cached_user", None) or request.__dict__.get("user")
        if isinstance(user, User):
            if len(self.users) >= REMEMBERED:
                self.users.clear()
            self.users[credential] = user.pk


def _credential(environ: Environ) -> int:
    """The hash of a token or session cookie; 0 without either."""
    if authorization := environ.get("HTTP_AUTHORIZATION"):
        return hash(authorization)
    for cookie in environ.get("HTTP_COOKIE", "").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == settings.SESSION_COOKIE_NAME:
            return hash(value)
    return 0
