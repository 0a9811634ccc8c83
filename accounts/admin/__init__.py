"""People, their tokens, groups and the audit trail, for staff."""

from accounts.admin.groups import GroupAdmin
from accounts.admin.tokens import TokenAdmin
from accounts.admin.trail import AuditEventAdmin
from accounts.admin.users import RegistrationAdmin, UserAdmin

__all__ = ["AuditEventAdmin", "GroupAdmin", "RegistrationAdmin", "TokenAdmin", "UserAdmin"]
