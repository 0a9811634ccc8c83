"""Identification and rate limits of clients before authentication."""

import time
from collections import Counter
from collections.abc import Hashable
from http.client import UNAUTHORIZED
from math import ceil
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.wsgi import WSGIRequest
from django.http import parse_cookie

from accounts.models import Token, User
from accounts.throttling import client_network
from common import client_ip
from common.random_cache import RandomCache
from telemetry_site.server.environ import Environ

DEVICE_API = "/api/v1/device/"
Credential = tuple[str, int]
"""`token` or `session`, and its hash; 0 without one."""
KNOWN_SECONDS = 60.0
"""How long a credential identifies its client after it last authenticated a request. Some requests
do not check the credential, so that its end is not noticed.
"""


class TooManyRequests(Exception):
    """The client is over its rate limit; its requests are rejected for `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Window:
    """Counts the requests of each client in a time window. The setting holds the limit and the
    seconds of the window.
    """

    def __init__(self, setting: str) -> None:
        self.setting = setting
        self.number = 0
        self.counts: Counter[Hashable] = Counter()

    def count(self, client: Hashable) -> None:
        """Count a request of the client. Raises TooManyRequests."""
        limit, seconds = getattr(settings, self.setting)
        now = time.monotonic()
        if self.number != now // seconds:
            self.number = int(now // seconds)
            self.counts.clear()
        self.counts[client] += 1
        if self.counts[client] > limit:
            raise TooManyRequests(ceil(seconds - now % seconds) or 1)


class Clients:
    """Identifies clients: users and devices by credentials that an earlier request has
    authenticated, all others by their IP address. So a client that sends a new invalid token with
    each request is still counted as one client.
    """

    def __init__(self) -> None:
        self.known: RandomCache[Credential, tuple[Hashable, float]] = RandomCache(
            settings.TOKEN_CACHE_SIZE
        )
        """By credential: the client and the time of the last authentication. The client is the id
        of the user, or, for a device or a read-only token, the credential itself.
        """
        self.requests = Window("REQUESTS_PER_CLIENT")
        self.writes = [Window("WRITES_PER_USER"), Window("WRITES_PER_USER_AND_DAY")]

    def count(self, client: Hashable) -> None:
        """Count a request. Raises TooManyRequests."""
        self.requests.count(client)

    def count_write(self, client: Hashable) -> None:
        """Count a request that may change data. Raises TooManyRequests.

        Only requests of known users are counted. The first request with a token or session is not
        counted, because it is not authenticated yet.
        """
        if isinstance(client, UUID):
            for window in self.writes:
                window.count(client)

    def identify(self, environ: Environ) -> Hashable:
        """Return the client of a request. Of several credentials, one of a user has priority."""
        found = [known for one in _credentials(environ) if (known := self._known_client(one))]
        users = [known for known in found if isinstance(known, UUID)]
        return next(iter(users + found), None) or client_network(
            client_ip.client_ip_from_environ(environ)
        )

    def remember_client(self, environ: Environ, request: WSGIRequest, status: int) -> bool:
        """Remember the user or device of a credential, after the response is complete.

        Remember only the credential that has authenticated the request: another one in the same
        request may be invalid. Remove a credential that was checked and found invalid, so that its
        requests no longer count as those of the user. Return whether the request came from a
        device.
        """
        token, session = _credentials(environ)
        auth = getattr(request, "auth", None)
        session_user = getattr(request, "_cached_user", None)
        user = session_user or request.__dict__.get("user")
        by_device = environ["PATH_INFO"].startswith(DEVICE_API)
        if isinstance(session_user, AnonymousUser):
            self._remember(session, None)
        if isinstance(auth, Token):
            read_only = auth.access == Token.Access.READ
            self._remember(token, token if read_only else auth.user_id)
        elif status == UNAUTHORIZED and auth is None and not by_device:
            self._remember(token, None)
        elif status < 300 and by_device:
            # Only devices have access to these paths. The device itself does not matter here.
            self._remember(token, token)
            return True
        elif isinstance(user, User) and auth is None:
            self._remember(session, user.pk)
        return False

    def _known_client(self, credential: Credential) -> Hashable:
        client, authenticated_at = self.known.get(credential) or (None, 0.0)
        return client if time.monotonic() - authenticated_at < KNOWN_SECONDS else None

    def _remember(self, credential: Credential, client: Hashable) -> None:
        """Store the client of a credential; None if the credential is invalid."""
        # Do not add invalid credentials: they would replace valid ones.
        if credential[1] and (client or self.known.get(credential)):
            self.known.set(credential, (client, time.monotonic()))


def _credentials(environ: Environ) -> tuple[Credential, Credential]:
    """Return hashes of the token and the session cookie, parsed as Django parses them, so that
    other spellings of a header do not count as other clients.
    """
    words = environ.get("HTTP_AUTHORIZATION", "").split()[-1:]
    cookies = parse_cookie(environ["HTTP_COOKIE"]) if "HTTP_COOKIE" in environ else {}
    session = cookies.get(settings.SESSION_COOKIE_NAME)
    return ("token", hash(words[0]) if words else 0), ("session", hash(session) if session else 0)
