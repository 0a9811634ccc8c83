"""Who sends requests, as far as the front can tell them apart."""

import time
from collections import Counter
from collections.abc import Hashable
from math import ceil
from uuid import UUID

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import parse_cookie

from accounts.models import Token, User
from accounts.throttling import client_network
from common import client_ip
from common.random_cache import RandomCache
from telemetry_site.server.environ import Environ

DEVICE_API = "/api/v1/device/"
Credential = tuple[str, int]
"""`token` or `session`, and its hash; 0 where there is none."""


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
        self.known: RandomCache[Credential, Hashable] = RandomCache(settings.TOKEN_CACHE_SIZE)
        """By token or session: a user's id, or of a device the token itself."""
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
        """Return the client that has sent a request: of several credentials a user's counts."""
        found = [known for one in _credentials(environ) if (known := self.known.get(one))]
        users = [known for known in found if isinstance(known, UUID)]
        return next(iter(users + found), None) or client_network(
            client_ip.client_ip_from_environ(environ)
        )

    def learn(self, environ: Environ, request: WSGIRequest, status: int) -> bool:
        """Remember whose token or session it is, from a request that has been answered.

        Only what has authenticated the request is remembered: whatever else came with it may be
        made up. Return whether it came from a device.
        """
        token, session = _credentials(environ)
        auth = getattr(request, "auth", None)
        user = getattr(request, "_cached_user", None) or request.__dict__.get("user")
        if isinstance(auth, Token):
            self._remember(token, auth.user_id)
        elif status < 300 and environ["PATH_INFO"].startswith(DEVICE_API):
            # Only devices get there. Which one it is has no need to be known.
            self._remember(token, token)
            return True
        elif isinstance(user, User) and auth is None:
            self._remember(session, user.pk)
        return False

    def _remember(self, credential: Credential, client: Hashable) -> None:
        if credential[1] and self.known.get(credential) != client:
            self.known.set(credential, client)


def _credentials(environ: Environ) -> tuple[Credential, Credential]:
    """Return the token and the session cookie as Django reads them, as hashes: however they are
    written, they are the same client.
    """
    words = environ.get("HTTP_AUTHORIZATION", "").split()[-1:]
    cookies = parse_cookie(environ["HTTP_COOKIE"]) if "HTTP_COOKIE" in environ else {}
    session = cookies.get(settings.SESSION_COOKIE_NAME)
    return ("token", hash(words[0]) if words else 0), ("session", hash(session) if session else 0)
