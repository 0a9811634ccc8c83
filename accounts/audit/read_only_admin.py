"""Base class of read-only admin pages."""

from typing import Any

from django.http import HttpRequest

from accounts.audit.admin_base import AuditedAdmin
from common.admin.base import M


class ReadOnlyAdmin(AuditedAdmin[M]):
    """List and show rows; allow no additions, changes or deletions."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
