"""Permission groups in the admin."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as FrameworkGroupAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from accounts.audit.admin_base import AutoAuditedAdmin

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(AutoAuditedAdmin[Group], FrameworkGroupAdmin):
    """Permission groups. Only superusers edit them, because a group can grant any permission."""

    audit_category = "group"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)
