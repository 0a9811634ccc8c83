"""People, the secrets that stand for them, and the trail of what was done."""

from accounts.models.credentials import (
    RecoveryCode,
    Registration,
    SecondFactor,
    Session,
    StoredSecret,
    Throttle,
    Token,
    alive,
)
from accounts.models.people import (
    Archive,
    User,
    UserManager,
    UsernameValidator,
    time_zones,
    validate_language,
    validate_time_zone,
)
from accounts.models.trail import (
    AuditEvent,
    AuditEventQuerySet,
)

__all__ = [
    "Archive",
    "AuditEvent",
    "AuditEventQuerySet",
    "RecoveryCode",
    "Registration",
    "SecondFactor",
    "Session",
    "StoredSecret",
    "Throttle",
    "Token",
    "User",
    "UserManager",
    "UsernameValidator",
    "alive",
    "time_zones",
    "validate_language",
    "validate_time_zone",
]
