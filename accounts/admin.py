"""Users and their tokens, for staff."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as FrameworkGroupAdmin
from django.contrib.auth.admin import UserAdmin as FrameworkUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts import tokens
from accounts.actions import ACTIONS
from accounts.audited import RecordingAdmin
from accounts.forms import PasswordForm
from accounts.models import AuditEvent, Token, User
from accounts.read_only import ReadOnlyAdmin

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(RecordingAdmin[User], FrameworkUserAdmin[User]):
    """People. They are deactivated rather than deleted: their devices hold readings."""

    subject = "user"
    list_display = ("username", "email", "is_active", "is_staff", "last_login", "created_at")
    search_fields = ("username", "email")
    ordering = ("username",)
    fieldsets = (
        (None, {"fields": ("username", "email", "email_verified_at", "password", "time_zone")}),
        ("Rights", {"fields": ("is_active", *RIGHTS)}),
        ("Times", {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "usable_password", "password1", "password2")}),
    )
    readonly_fields = ("last_login", "created_at", "updated_at")
    change_password_form = PasswordForm

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Rights are given by superusers only, or staff could raise their own.
        rights = () if request.user.is_superuser else RIGHTS
        return (*self.readonly_fields, *rights)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Whoever sets a superuser's password or address is one.
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin[Token]):
    """What is known of users' tokens; the secrets themselves nobody can see."""

    list_display = ("prefix", "label", "user", "scope", "revoked", "expires_at", "last_used_at")
    list_filter = ("scope", "revoked")
    list_select_related = ("user",)
    search_fields = ("prefix", "label", "user__username")
    fields = readonly_fields = (
        "user",
        "scope",
        "prefix",
        "label",
        "revoked",
        "expires_at",
        "used_at",
        "last_used_at",
        "created_at",
    )
    actions = ("revoke",)

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for token in queryset:
            tokens.revoke(token)
        self.message_user(request, f"{len(queryset)} revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """What Django calls the right to change a token: nothing else of it changes."""
        return request.user.has_perm("accounts.change_token")


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(RecordingAdmin[Group], FrameworkGroupAdmin):
    """Rights that several people have."""

    subject = "group"


class ActionFilter(admin.SimpleListFilter):
    """The actions that there may be, without asking the table which there are."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(ACTIONS.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.about(self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin[AuditEvent]):
    """Everybody's audit trail: all staff see it, and nobody can change it."""

    list_display = ("created_at", "label", "actor_name", "by", "address", "target_name", "owner")
    list_filter = (ActionFilter, "means")
    list_select_related = ("owner",)
    search_fields = ("actor_name", "target_name", "target_id", "address")
    search_help_text = _("Who, what, an id, or an address")
    sortable_by = ()
    show_full_result_count = False
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

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "target_id" or super().lookup_allowed(lookup, value, request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def _pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2)) if value else ""
