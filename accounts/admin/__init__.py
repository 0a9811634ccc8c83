"""The admin classes of users, tokens, groups, registrations and the audit trail."""

from accounts.audit.admin import AuditEventAdmin
from accounts.registration.admin import RegistrationAdmin
from accounts.tokens.admin import TokenAdmin
from accounts.users.admin import UserAdmin
from accounts.users.groups_admin import GroupAdmin

__all__ = ["AuditEventAdmin", "GroupAdmin", "RegistrationAdmin", "TokenAdmin", "UserAdmin"]
