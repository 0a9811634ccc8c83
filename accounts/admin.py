"""Users and their tokens, for staff."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as FrameworkUserAdmin
from django.http import HttpRequest

from accounts import tokens
from accounts.forms import PasswordForm
from accounts.models import Token, User
from accounts.read_only import ReadOnlyAdmin

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(FrameworkUserAdmin[User]):
    """People. They are deactivated rather than deleted: their devices hold readings."""

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
