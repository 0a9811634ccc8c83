"""The life of a signed-in browser: begin, be seen, end. The only writer of `sessions`.

Django's session engine in a table of ours: its owner can see where they are signed in and end it,
and a copy of the table signs nobody in, because it holds hashes where Django's holds keys.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.models import Session, User

LAST_SEEN_PRECISION = timedelta(minutes=1)
"""`last_seen_at` is written at most this often, or each request would write a row."""


def lives(now: datetime) -> Q:
    """The rule of sessions: they end 14 days after their beginning (SESSION_COOKIE_AGE), or 12
    hours after their last request (SESSION_IDLE).
    """
    idle = now - timedelta(seconds=settings.SESSION_IDLE)
    return Q(expires_at__gt=now, last_seen_at__gt=idle)


class SessionStore(SessionBase):
    """What `request.session` is."""

    address: str | None = None
    user_agent = ""

    @property
    def key_hash(self) -> bytes:
        """32 bytes of SHA-256 of the cookie: how the row is found."""
        return sha256((self.session_key or "").encode()).digest()

    def load(self) -> dict[str, Any]:
        now = timezone.now()
        row = Session.objects.filter(lives(now), key_hash=self.key_hash).first()
        if row is None:
            self._session_key = None
            return {}
        if row.last_seen_at < now - LAST_SEEN_PRECISION:
            Session.objects.filter(pk=row.pk).update(last_seen_at=now, **self._origin())
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
        """Store what is in it. Raises UpdateError when it was ended in the meantime."""
        if self.session_key is None:
            return self.create()
        content = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        values = {"data": self.encode(content), "user_id": content.get(SESSION_KEY)}
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
        forget_ended(timezone.now())

    def _insert(self, values: dict[str, Any]) -> None:
        now = timezone.now()
        try:
            with transaction.atomic():
                Session.objects.create(
                    key_hash=self.key_hash,
                    created_at=now,
                    last_seen_at=now,
                    expires_at=now + timedelta(seconds=settings.SESSION_COOKIE_AGE),
                    **self._origin(),
                    **values,
                )
        except IntegrityError:
            raise CreateError from None

    def _origin(self) -> dict[str, Any]:
        longest = Session._meta.get_field("user_agent").max_length
        return {"address": self.address, "user_agent": self.user_agent[:longest]}


def of_request(request: HttpRequest) -> SessionStore:
    """The session of this browser, as ours."""
    assert isinstance(request.session, SessionStore)  # noqa: S101 - SESSION_ENGINE says so
    return request.session


def of(user: User, *, now: datetime) -> QuerySet[Session]:
    """The user's living sessions, the one seen last first."""
    return Session.objects.filter(lives(now), user=user).order_by("-last_seen_at", "-id")


def end(user: User, session_id: UUID) -> None:
    """End one session of the user's. Raises Session.DoesNotExist."""
    with transaction.atomic():
        session = Session.objects.select_for_update().get(user=user, pk=session_id)
        audit.record("session.ended", target=session, before=_told(session))
        session.delete()


def end_others(user: User, *, current: SessionStore) -> None:
    """End the user's sessions but the one that asks."""
    with transaction.atomic():
        others = Session.objects.filter(user=user).exclude(key_hash=current.key_hash)
        if count := others.delete()[0]:
            audit.record("session.others_ended", target=user, after={"count": count})


def make_room(user: User) -> None:
    """End the oldest sessions of the user, so that with a new one there are SESSIONS_PER_USER."""
    newest = Session.objects.filter(user=user).order_by("-created_at", "-id")
    with transaction.atomic():
        for session in newest[max(0, settings.SESSIONS_PER_USER - 1) :]:
            audit.record("session.ended", target=session, before=_told(session))
            session.delete()


def end_all(user: User) -> None:
    """End every session of the user."""
    with transaction.atomic():
        if count := Session.objects.filter(user=user).delete()[0]:
            audit.record("session.all_ended", target=user, after={"count": count})


def forget_ended(now: datetime) -> None:
    """Remove the rows of sessions whose time is over."""
    Session.objects.filter(~lives(now)).delete()


def _told(session: Session) -> dict[str, Any]:
    """What the audit trail tells of it."""
    return {"address": session.address, "user_agent": session.user_agent}
