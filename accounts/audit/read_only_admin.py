"""Tables that staff look at and nobody edits by hand."""

from typing import Any

from django.http import HttpRequest

from accounts.audit.admin_base import AuditedAdmin
from common.admin.base import M


class ReadOnlyAdmin(AuditedAdmin[M]):
    """Lists and shows; adds, changes and deletes nothing."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
