"""Browser sessions of users: list and end. With store.py the only writer of `sessions`.

The project has its own session table, so that users can see and end their sessions. It stores
hashes of the session keys, not the keys, so that a copy of the table cannot be used to sign in.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.audit import log as audit
from accounts.models import Session, User
from accounts.sessions.store import SessionStore, active_sessions


def get_session_store(request: HttpRequest) -> SessionStore:
    """Return the session store of the request."""
    assert isinstance(request.session, SessionStore)  # noqa: S101 - SESSION_ENGINE says so
    return request.session


def active_for_user(user: User, *, now: datetime) -> QuerySet[Session]:
    """Return the user's active sessions, last seen first."""
    return Session.objects.filter(active_sessions(now), user=user).order_by("-last_seen_at", "-id")


def end_session(user: User, session_id: UUID) -> None:
    """End one session of the user. Raises Session.DoesNotExist."""
    with transaction.atomic():
        session = Session.objects.select_for_update().get(user=user, pk=session_id)
        audit.record("session.ended", target=session, before=_audit_snapshot(session))
        session.delete()


def end_others(user: User, *, current: SessionStore) -> None:
    """End all sessions of the user except the current one."""
    with transaction.atomic():
        others = Session.objects.filter(user=user).exclude(key_hash=current.key_hash)
        if count := others.delete()[0]:
            audit.record("session.others_ended", target=user, after={"count": count})


def end_oldest_sessions(user: User) -> None:
    """End the oldest sessions, so that a new one does not exceed SESSIONS_PER_USER."""
    newest = Session.objects.filter(user=user).order_by("-created_at", "-id")
    with transaction.atomic():
        for session in newest[max(0, settings.SESSIONS_PER_USER - 1) :]:
            audit.record("session.ended", target=session, before=_audit_snapshot(session))
            session.delete()


def end_all(user: User) -> None:
    """End every session of the user."""
    with transaction.atomic():
        if count := Session.objects.filter(user=user).delete()[0]:
            audit.record("session.all_ended", target=user, after={"count": count})


def _audit_snapshot(session: Session) -> dict[str, Any]:
    """Return the values for the audit trail."""
    return {"address": session.address, "user_agent": session.user_agent}
