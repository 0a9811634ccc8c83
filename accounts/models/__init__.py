"""People, the secrets that stand for them, and the trail of what was done."""

from accounts.models.audit import AuditEvent, AuditEventQuerySet
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
from accounts.models.users import (
    NAME_OF_CLOSED,
    AccessEnded,
    Archive,
    User,
    UserManager,
    UsernameValidator,
    fold,
    spelled,
    time_zones,
    validate_language,
    validate_time_zone,
)

__all__ = [
    "NAME_OF_CLOSED",
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
    "alive",
    "fold",
    "spelled",
    "time_zones",
    "validate_language",
    "validate_time_zone",
]
