"""The audit trail of all users, in the admin."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts.audit.actions import ACTION_LABELS
from accounts.audit.read_only_admin import ReadOnlyAdmin
from accounts.models import AuditEvent
from common.admin.keyset_pagination import KeysetAdmin


class ActionFilter(admin.SimpleListFilter):
    """Filter by action. The choices come from ACTION_LABELS, which avoids a scan of the table."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(ACTION_LABELS.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.in_category(self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin[AuditEvent], KeysetAdmin[AuditEvent]):
    """The audit trail of all users. All staff can read it; it cannot be changed."""

    list_display = (
        "created_at",
        "action_label",
        "actor_name",
        "auth_method",
        "address",
        "target_name",
        "owner",
    )
    list_filter = (ActionFilter, "means")
    extra_lookups = ("target_id",)
    list_select_related = ("owner",)
    search_fields = ("actor_name", "target_name", "target_id", "address")
    search_help_text = _("Search user, object, id or IP address")
    fields = readonly_fields = (
        "created_at",
        "action_label",
        "action",
        "actor_name",
        "auth_method",
        "address",
        "target_kind",
        "target_id",
        "target_name",
        "owner",
        "before_json",
        "after_json",
    )

    @admin.display(description=_("action"))
    def action_label(self, event: AuditEvent) -> str:
        return event.action_label

    @admin.display(description=_("source"))
    def auth_method(self, event: AuditEvent) -> str:
        return f"{event.get_means_display()} {event.means_name}".strip()

    @admin.display(description=_("before"))
    def before_json(self, event: AuditEvent) -> str:
        return _pretty(event.before)

    @admin.display(description=_("after"))
    def after_json(self, event: AuditEvent) -> str:
        return _pretty(event.after)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def _pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2)) if value else ""
