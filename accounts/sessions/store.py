"""Django's session store on the table `sessions`."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Session

LAST_SEEN_PRECISION = timedelta(minutes=1)
"""`last_seen_at` is updated at most this often, so that not every request writes a row."""


def active_sessions(now: datetime) -> Q:
    """Return the condition for active sessions.

    A session ends 14 days after sign-in (SESSION_COOKIE_AGE) or 12 hours after its last request
    (SESSION_IDLE_TIMEOUT).
    """
    idle = now - timedelta(seconds=settings.SESSION_IDLE_TIMEOUT)
    return Q(expires_at__gt=now, last_seen_at__gt=idle)


class SessionStore(SessionBase):
    """The session store behind `request.session`."""

    address: str | None = None
    user_agent = ""

    @property
    def key_hash(self) -> bytes:
        """The SHA-256 (32 bytes) of the session key, by which the row is found."""
        return sha256((self.session_key or "").encode()).digest()

    def load(self) -> dict[str, Any]:
        now = timezone.now()
        row = Session.objects.filter(active_sessions(now), key_hash=self.key_hash).first()
        if row is None:
            self._session_key = None
            return {}
        if row.last_seen_at < now - LAST_SEEN_PRECISION:
            Session.objects.filter(pk=row.pk).update(last_seen_at=now, **self._client_info())
        return self.decode(row.data)

    def exists(self, session_key: str) -> bool:
        return Session.objects.filter(key_hash=sha256(session_key.encode()).digest()).exists()

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Store the session. Raises UpdateError if it was ended meanwhile."""
        if self.session_key is None:
            return self.create()
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        values = {"data": self.encode(data), "user_id": data.get(SESSION_KEY)}
        if must_create:
            return self._insert(values)
        if not Session.objects.filter(key_hash=self.key_hash).update(**values):
            raise UpdateError
        return None

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            Session.objects.filter(key_hash=sha256(key.encode()).digest()).delete()

    @classmethod
    def clear_expired(cls) -> None:
        delete_expired(timezone.now())

    def _insert(self, values: dict[str, Any]) -> None:
        now = timezone.now()
        try:
            with transaction.atomic():
                Session.objects.create(
                    key_hash=self.key_hash,
                    created_at=now,
                    last_seen_at=now,
                    expires_at=now + timedelta(seconds=settings.SESSION_COOKIE_AGE),
                    **self._client_info(),
                    **values,
                )
        except IntegrityError:
            raise CreateError from None

    def _client_info(self) -> dict[str, Any]:
        max_length = Session._meta.get_field("user_agent").max_length
        return {"address": self.address, "user_agent": self.user_agent[:max_length]}


def delete_expired(now: datetime) -> None:
    """Delete expired sessions."""
    Session.objects.filter(~active_sessions(now)).delete()
