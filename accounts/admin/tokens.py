"""What is known of users' tokens, for staff."""

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import (
    rights,
    tokens,
)
from accounts.filters import AutocompleteFilter, media_of
from accounts.guarded import staff_of
from accounts.keyset import KeysetAdmin
from accounts.models import Token
from accounts.read_only import ReadOnlyAdmin


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin[Token], KeysetAdmin[Token]):
    """What is known of users' tokens; the secrets themselves nobody can see."""

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
        return super().media + media_of(self)

    @admin.action(description=_("Revoke the selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        actor = staff_of(request)
        ours = [
            token
            for token in queryset.select_related("user")
            if rights.may_change(actor, token.user)
        ]
        for token in ours:
            tokens.revoke(token)
        words = ngettext("%(count)d revoked.", "%(count)d revoked.", len(ours))
        self.message_user(request, words % {"count": len(ours)})

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """What Django calls the right to change a token: nothing else of it changes."""
        return request.user.has_perm("accounts.change_token")
