"""Events in the trail, for tests: written, and read by whose they are."""

from accounts.audit import log as audit
from accounts.models import AuditEvent


def trail(user=None):
    """The actions in somebody's trail, or in nobody's, the oldest first."""
    return [event.action for event in AuditEvent.objects.filter(owner=user).order_by("created_at")]


def record(**given):
    audit.record("user.changed", **given)
    return AuditEvent.objects.latest("created_at")
