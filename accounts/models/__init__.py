"""Users, their tokens and sessions, rate limits, and the audit trail."""

from accounts.models.audit import AuditEvent, AuditEventQuerySet
from accounts.models.credentials import (
    RecoveryCode,
    Registration,
    SecondFactor,
    Session,
    StoredSecret,
    Throttle,
    Token,
    active_tokens,
)
from accounts.models.users import (
    CLOSED_USERNAME_PREFIX,
    AccessEnded,
    Archive,
    User,
    UserManager,
    UsernameValidator,
    available_time_zones,
    equals_ignoring_case,
    fold,
    validate_language,
    validate_time_zone,
)

__all__ = [
    "CLOSED_USERNAME_PREFIX",
    "AccessEnded",
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
    "active_tokens",
    "available_time_zones",
    "equals_ignoring_case",
    "fold",
    "validate_language",
    "validate_time_zone",
]
