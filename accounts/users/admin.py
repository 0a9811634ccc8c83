"""Users and invitations, for staff."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as FrameworkUserAdmin
from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from accounts import throttling
from accounts.audit.admin_base import AutoAuditedAdmin
from accounts.email import verification
from accounts.mfa import services as mfa
from accounts.models import User
from accounts.passwords.forms import AdminSetPasswordForm
from accounts.sessions import services as sessions
from accounts.users import access, lockout, permissions
from accounts.users.staff import get_staff_user
from common.admin import confirmation
from common.admin.stale_forms import UnchangedForm
from common.request_pools import PASSWORDS

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")
TOKENS_SHOWN = 20


class UserForm(UnchangedForm[User]):
    """Without the password's hash, which the framework would show a part of."""

    def _is_closed(self, stored: User) -> bool:
        return stored.deleted_at is not None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        moved = "email" in self.changed_data and "email_verified_at" not in self.changed_data
        if moved and "email_verified_at" in values:
            # A new address is nobody's until its owner has followed the link.
            values["email_verified_at"] = None
        return values


class VerifiedFilter(admin.SimpleListFilter):
    title = _("e-mail address")
    parameter_name = "verified"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Verified")), ("no", _("Not verified"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        match self.value():
            case "yes":
                return queryset.exclude(email_verified_at=None)
            case "no":
                return queryset.filter(email_verified_at=None)
        return queryset


@admin.register(User)
class UserAdmin(AutoAuditedAdmin[User], FrameworkUserAdmin[User]):
    """People. They are deactivated rather than deleted: their devices hold readings."""

    request_pool = PASSWORDS

    subject = "user"

    form = UserForm
    list_display = ("username", "email", "verified", "state", "role", "last_login", "created_at")
    list_filter = ("is_active", VerifiedFilter, "is_staff", "is_superuser")
    list_per_page = 50
    search_fields = ("username", "email")
    search_help_text = _("A part of a name or an address.")
    ordering = ("username",)
    sortable_by = ("username", "email", "last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("username", "email", "email_verified_at", "time_zone", "language")}),
        (_("Standing"), {"fields": ("state", "locked", "password_state", "factor")}),
        (_("Rights"), {"fields": RIGHTS}),
        (_("Times"), {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "usable_password", "password1", "password2")}),
    )
    readonly_fields = (
        "state",
        "locked",
        "password_state",
        "factor",
        "last_login",
        "created_at",
        "updated_at",
    )
    actions = ("sign_out", "unlock", "resend_verification", "deactivate", "reactivate")
    change_password_form = AdminSetPasswordForm
    change_form_template = "admin/accounts/user/change_form.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(deleted_at=None)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Rights are given by superusers only, or staff could raise their own.
        rights_shown = () if request.user.is_superuser else RIGHTS
        return (*self.readonly_fields, *rights_shown)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            # Each is called by its table, too.
            kwargs["queryset"] = Permission.objects.select_related("content_type")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        mine = obj is None or permissions.can_change_user(get_staff_user(request), obj)
        return mine and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            # The whole row is saved: keep what another request has changed since it was read.
            # The form holds the row, and has compared the fields that it shows.
            columns = [field.name for field in User._meta.concrete_fields]
            obj.refresh_from_db(fields=[name for name in columns if name not in form.fields])
        super().save_model(request, obj, form, change)
        if change and {"email", "email_verified_at"} & set(form.changed_data):
            mfa.keep_at_reset(obj)
        if change and "email" in form.changed_data:
            # Whoever had access with the old address may not be the owner of the new one.
            access.end_access(obj)

    @admin.display(description=_("verified"), boolean=True, ordering="email_verified_at")
    def verified(self, user: User) -> bool:
        return user.email_verified_at is not None

    @admin.display(description=_("status"))
    def state(self, user: User) -> SafeString:
        if not user.is_active:
            return format_html('<span class="state deactivated">{}</span>', gettext("Deactivated"))
        return format_html('<span class="state online">{}</span>', gettext("Active"))

    @admin.display(description=_("locked"))
    def locked(self, user: User) -> SafeString | str:
        """On the page of one only: a list would ask for each."""
        if lockout.is_locked(user, now=timezone.now()):
            words = gettext("Too many tries")
            return format_html('<span class="state failed">{}</span>', words)
        return gettext("No")

    @admin.display(description=_("role"))
    def role(self, user: User) -> str:
        if user.is_superuser:
            return gettext("Superuser")
        return gettext("Staff") if user.is_staff else ""

    @admin.display(description=_("password"))
    def password_state(self, user: User) -> str:
        return gettext("Set") if user.has_usable_password() else pgettext("password", "None")

    @admin.display(description=_("second factor"))
    def factor(self, user: User) -> str:
        return gettext("On") if mfa.is_enabled(user) else gettext("Off")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> TemplateResponse:
        user = kwargs.get("obj")
        if user is not None and request.user.has_perm("accounts.view_token"):
            context["tokens"] = user.tokens.order_by("-created_at")[:TOKENS_SHOWN]
            context["sessions"] = sessions.active_for_user(user, now=timezone.now())[:TOKENS_SHOWN]
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[return-value]

    @admin.action(description=_("End sessions and tokens …"), permissions=["change"])
    def sign_out(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            permissions.revoke_access,
            title=gettext("End sessions and tokens"),
            words=gettext(
                "They are signed out everywhere, and their API tokens, mailed links and a pending "
                "change of address end. They sign in again as before; their devices go on sending."
            ),
            button=gettext("End them"),
        )

    @admin.action(description=_("Unlock …"), permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            lockout.unlock,
            title=gettext("Unlock users"),
            words=gettext(
                "Who tried too many passwords or codes has to wait. They may try again at once; so "
                "may whoever else tried in their name."
            ),
            button=gettext("Unlock"),
        )

    @admin.action(description=_("Mail the link to confirm the address …"), permissions=["change"])
    def resend_verification(
        self, request: HttpRequest, queryset: QuerySet[User]
    ) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            partial(verification.resend_verification, now=timezone.now()),
            title=gettext("Mail the link to confirm the address"),
            words=gettext(
                "Everybody whose address is not confirmed gets a mail with a new link; the others "
                "get none."
            ),
            button=gettext("Send"),
        )

    @admin.action(description=_("Deactivate …"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            permissions.deactivate,
            title=gettext("Deactivate users"),
            words=gettext(
                "They are signed out and their API tokens end. They and their devices are refused "
                "until they are reactivated; no readings are lost."
            ),
            button=gettext("Deactivate"),
        )

    @admin.action(description=_("Reactivate …"), permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            permissions.reactivate,
            title=gettext("Reactivate users"),
            words=gettext(
                "They can sign in again, and their devices' tokens work again. API tokens have to "
                "be created anew."
            ),
            button=gettext("Reactivate"),
        )

    def _confirmed(
        self,
        request: HttpRequest,
        queryset: QuerySet[User],
        work: Callable[..., None],
        **asked: Any,
    ) -> HttpResponse | None:
        """Ask first; once that is answered, do it to each that may be done it to."""
        rows = confirmation.selected_or_error(self, request, queryset)
        if not rows or not confirmation.is_confirmed(request):
            return confirmation.render_confirmation(self, request, rows, **asked) if rows else None
        refused, passed_over = [], []
        for user in rows:
            try:
                work(user, by=get_staff_user(request))
            except permissions.UserPermissionDenied:
                refused.append(user.username)
            except (verification.AlreadyVerified, throttling.RateLimitExceeded):
                passed_over.append(user.username)
        done = len(rows) - len(refused) - len(passed_over)
        if done:
            words = ngettext("%(count)d user.", "%(count)d users.", done) % {"count": done}
            self.message_user(request, f"{asked['title']}: {words}", level=messages.SUCCESS)
        if passed_over:
            words = gettext("Nothing to do, or too often: %(names)s.")
            words %= {"names": ", ".join(passed_over)}
            self.message_user(request, words, level=messages.WARNING)
        if refused:
            words = gettext("You may not do this to %(names)s.") % {"names": ", ".join(refused)}
            self.message_user(request, words, level=messages.ERROR)
        return None
