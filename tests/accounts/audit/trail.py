"""Helpers that record audit events and read them by owner."""

from accounts.audit import log as audit
from accounts.models import AuditEvent


def trail(user=None):
    """Return the actions in the trail of the user, or of no user, with the oldest first."""
    return [event.action for event in AuditEvent.objects.filter(owner=user).order_by("created_at")]


def record(**fields):
    audit.record("user.changed", **fields)
    return AuditEvent.objects.latest("created_at")
