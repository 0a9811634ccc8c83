"""Users and their tokens, for staff."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as FrameworkUserAdmin
from django.http import HttpRequest
from django.utils import timezone

from accounts import signup, throttles, tokens
from accounts.account_forms import InvitationForm
from accounts.forms import PasswordForm
from accounts.models import Registration, Token, User
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

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:
            # What was mailed to the old address proves nothing of the new one.
            tokens.revoke_mailed(obj)


@admin.register(Registration)
class RegistrationAdmin(ReadOnlyAdmin[Registration]):
    """Who was invited or has signed up, and has not opened the link yet. Adding one invites."""

    list_display = ("email", "username", "invited_by", "created_at", "expires_at")
    list_select_related = ("invited_by",)
    search_fields = ("email", "username")
    ordering = ("-created_at",)
    fields = ("email", "username", "invited_by", "created_at", "expires_at")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else InvitationForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else ("email",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        allowed = request.user.has_perm("accounts.add_registration")
        return allowed and settings.REGISTRATION != "closed"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.delete_registration")

    def save_model(self, request: HttpRequest, obj: Registration, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)  # noqa: S101 - the admin has let them in
        now = timezone.now()
        throttles.take(throttles.of_invitation(request.user.pk), now=now)
        obj.pk = signup.invite(request.user, obj.email, now=now).pk


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
