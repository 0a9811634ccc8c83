"""Everybody's audit trail, for staff."""

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
    """The actions that there may be, without asking the table which there are."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(ACTION_LABELS.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.about(self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin[AuditEvent], KeysetAdmin[AuditEvent]):
    """Everybody's audit trail: all staff see it, and nobody can change it."""

    list_display = ("created_at", "label", "actor_name", "by", "address", "target_name", "owner")
    list_filter = (ActionFilter, "means")
    linked_by = ("target_id",)
    list_select_related = ("owner",)
    search_fields = ("actor_name", "target_name", "target_id", "address")
    search_help_text = _("Who, what, an id, or an address")
    fields = readonly_fields = (
        "created_at",
        "label",
        "action",
        "actor_name",
        "by",
        "address",
        "target_kind",
        "target_id",
        "target_name",
        "owner",
        "told_before",
        "told_after",
    )

    @admin.display(description=_("action"))
    def label(self, event: AuditEvent) -> str:
        return event.label

    @admin.display(description=_("by"))
    def by(self, event: AuditEvent) -> str:
        return f"{event.get_means_display()} {event.means_name}".strip()

    @admin.display(description=_("before"))
    def told_before(self, event: AuditEvent) -> str:
        return _pretty(event.before)

    @admin.display(description=_("after"))
    def told_after(self, event: AuditEvent) -> str:
        return _pretty(event.after)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def _pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2)) if value else ""
