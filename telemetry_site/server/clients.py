"""Who sends requests, as far as the front can tell them apart."""

import time
from collections import Counter
from collections.abc import Hashable
from math import ceil
from uuid import UUID

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import parse_cookie

from accounts import addresses
from accounts.models import User
from accounts.random_cache import RandomCache
from accounts.throttles import network
from telemetry_site.server.environ import Environ

DEVICE_API = "/api/v1/device/"


class TooManyRequests(Exception):
    """The client has sent more than it may; nothing is done for `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Window:
    """Counts what each client does within some seconds, of a number and seconds in a setting."""

    def __init__(self, setting: str) -> None:
        self.setting = setting
        self.number = 0
        self.counts: Counter[Hashable] = Counter()

    def count(self, client: Hashable) -> None:
        """Count one more. Raises TooManyRequests."""
        most, seconds = getattr(settings, self.setting)
        now = time.monotonic()
        if self.number != now // seconds:
            self.number = int(now // seconds)
            self.counts.clear()
        self.counts[client] += 1
        if self.counts[client] > most:
            raise TooManyRequests(ceil(seconds - now % seconds) or 1)


class Clients:
    """Tells clients apart: users and devices that an earlier request has shown to be what they say,
    all others by their address. So a made-up token for each request makes nobody many clients.
    """

    def __init__(self) -> None:
        self.known: RandomCache[int, Hashable] = RandomCache(settings.TOKEN_CACHE_SIZE)
        """By the hash of a token or session: a user's id, or of a device the hash itself."""
        self.requests = Window("REQUESTS_PER_CLIENT")
        self.writes = [Window("WRITES_PER_USER"), Window("WRITES_PER_USER_AND_DAY")]

    def count(self, client: Hashable) -> None:
        """Count a request. Raises TooManyRequests."""
        self.requests.count(client)

    def count_write(self, client: Hashable) -> None:
        """Count a request that changes something. Raises TooManyRequests.

        Only users are counted, of whom there are a limited number; the first request with a token
        or session, which has not told whose it is, is not.
        """
        if isinstance(client, UUID):
            for window in self.writes:
                window.count(client)

    def of(self, environ: Environ) -> Hashable:
        """Return the client that has sent a request."""
        known = (self.known.get(credential) for credential in _credentials(environ))
        return next(filter(None, known), None) or network(addresses.of_environ(environ))

    def learn(self, environ: Environ, request: WSGIRequest, status: int) -> None:
        """Remember whose token or session it is, from a request that has been answered."""
        unknown = [one for one in _credentials(environ) if self.known.get(one) is None]
        if not unknown:
            return
        user = getattr(request, "_cached_user", None) or request.__dict__.get("user")
        if isinstance(user, User):
            for credential in unknown:
                self.known.set(credential, user.pk)
        elif status < 300 and environ["PATH_INFO"].startswith(DEVICE_API):
            # Only devices get there. Which one it is has no need to be known.
            self.known.set(unknown[0], unknown[0])


def _credentials(environ: Environ) -> list[int]:
    """Return the hashes of the token and of the session cookie, as Django reads them: however they
    are written, and whatever is sent beside them, they are the same client.
    """
    found = [hash(word) for word in environ.get("HTTP_AUTHORIZATION", "").split()[-1:]]
    if cookie := environ.get("HTTP_COOKIE"):
        session = parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME)
        found += [hash(session)] if session else []
    return found
