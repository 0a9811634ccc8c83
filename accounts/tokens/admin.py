"""User tokens in the admin."""

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.audit.read_only_admin import ReadOnlyAdmin
from accounts.models import Token
from accounts.tokens import services as tokens
from accounts.users import permissions
from accounts.users.staff import get_staff_user
from common.admin.filters import AutocompleteFilter, autocomplete_media
from common.admin.keyset_pagination import KeysetAdmin


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin[Token], KeysetAdmin[Token]):
    """User tokens, without plaintext or hash."""

    list_display = ("prefix", "label", "user", "scope", "revoked", "expires_at", "last_used_at")
    list_filter = ("scope", "revoked", ("user", AutocompleteFilter))
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

    @property
    def media(self) -> forms.Media:
        return super().media + autocomplete_media(self)

    @admin.action(description=_("Revoke the selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        actor = get_staff_user(request)
        allowed = [
            token
            for token in queryset.select_related("user")
            if permissions.can_change_user(actor, token.user)
        ]
        for token in allowed:
            tokens.revoke(token)
        message = ngettext("%(count)d revoked.", "%(count)d revoked.", len(allowed))
        self.message_user(request, message % {"count": len(allowed)})

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may revoke tokens: Django's change permission."""
        return request.user.has_perm("accounts.change_token")
