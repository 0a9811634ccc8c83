"""Pending registrations and invitations in the admin."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from accounts import throttling
from accounts.audit.read_only_admin import ReadOnlyAdmin
from accounts.models import Registration, User
from accounts.registration import invitations, pending
from accounts.registration.forms import InvitationForm
from accounts.users.staff import get_staff_user


@admin.register(Registration)
class RegistrationAdmin(ReadOnlyAdmin[Registration]):
    """Pending registrations and invitations. Adding a row sends an invitation."""

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
        return (
            pending.may_invite(get_staff_user(request)) and settings.REGISTRATION_MODE != "closed"
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.delete_registration")

    def delete_model(self, request: HttpRequest, obj: Registration) -> None:
        pending.cancel_registration(obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset:
            pending.cancel_registration(row)

    def save_model(self, request: HttpRequest, obj: Registration, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)  # noqa: S101 - the admin requires a signed-in user
        now = timezone.now()
        throttling.consume(throttling.invitation_limits(request.user.pk), now=now)
        obj.pk = invitations.invite(request.user, obj.email, now=now).pk
