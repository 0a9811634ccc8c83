"""Users in the admin."""

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

PERMISSION_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")
MAX_ROWS_DISPLAYED = 20


class UserForm(UnchangedForm[User]):
    """The user form without Django's password field, which displays a part of the hash."""

    def _is_closed(self, stored: User) -> bool:
        return stored.deleted_at is not None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        email_changed = (
            "email" in self.changed_data and "email_verified_at" not in self.changed_data
        )
        if email_changed and "email_verified_at" in values:
            # A new e-mail address is unverified until the mailed link is confirmed.
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
    """Users. They are deactivated instead of deleted, because their devices have readings."""

    request_pool = PASSWORDS

    audit_category = "user"

    form = UserForm
    list_display = ("username", "email", "verified", "state", "role", "last_login", "created_at")
    list_filter = ("is_active", VerifiedFilter, "is_staff", "is_superuser")
    list_per_page = 50
    search_fields = ("username", "email")
    search_help_text = _("Search name or e-mail address")
    ordering = ("username",)
    sortable_by = ("username", "email", "last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("username", "email", "email_verified_at", "time_zone", "language")}),
        (_("Account status"), {"fields": ("state", "locked", "password_state", "factor")}),
        (_("Permissions"), {"fields": PERMISSION_FIELDS}),
        (_("Timestamps"), {"fields": ("last_login", "created_at", "updated_at")}),
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
        queryset: Any = super().get_queryset(request)
        return queryset.not_deleted()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Only superusers edit permissions. Otherwise staff could extend their own.
        permission_fields = () if request.user.is_superuser else PERMISSION_FIELDS
        return (*self.readonly_fields, *permission_fields)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            # The label of a permission includes its content type.
            kwargs["queryset"] = Permission.objects.select_related("content_type")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = obj is None or permissions.can_change_user(get_staff_user(request), obj)
        return allowed and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            # All columns are saved. Keep changes that another request has made since the row was
            # read. The form has locked the row and compared the fields of the form.
            columns = [field.name for field in User._meta.concrete_fields]
            obj.refresh_from_db(fields=[name for name in columns if name not in form.fields])
        super().save_model(request, obj, form, change)
        if change and {"email", "email_verified_at"} & set(form.changed_data):
            mfa.keep_on_password_reset(obj)
        if change and "email" in form.changed_data:
            # Users with access by the old address may not own the new one.
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
        """Only on the change page: a list would run a query per row."""
        if lockout.is_locked(user, now=timezone.now()):
            text = gettext("Too many failed attempts")
            return format_html('<span class="state failed">{}</span>', text)
        return gettext("No")

    @admin.display(description=_("role"))
    def role(self, user: User) -> str:
        if user.is_superuser:
            return gettext("Superuser")
        return gettext("Staff") if user.is_staff else ""

    @admin.display(description=_("password"))
    def password_state(self, user: User) -> str:
        return gettext("Set") if user.has_usable_password() else pgettext("password", "None")

    @admin.display(description=_("two-factor authentication"))
    def factor(self, user: User) -> str:
        return gettext("On") if mfa.is_enabled(user) else gettext("Off")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> TemplateResponse:
        user = kwargs.get("obj")
        if user is not None and request.user.has_perm("accounts.view_token"):
            context["tokens"] = user.tokens.order_by("-created_at")[:MAX_ROWS_DISPLAYED]
            active = sessions.active_for_user(user, now=timezone.now())
            context["sessions"] = active[:MAX_ROWS_DISPLAYED]
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[return-value]

    @admin.action(description=_("End sessions and tokens …"), permissions=["change"])
    def sign_out(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            permissions.revoke_access,
            title=gettext("End sessions and tokens"),
            message=gettext(
                "This signs the users out of all sessions and revokes their API tokens, "
                "e-mailed links and pending e-mail address changes. They can sign in again as "
                "before. Their devices keep sending."
            ),
            button=gettext("End sessions and tokens"),
        )

    @admin.action(description=_("Unlock …"), permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            lockout.unlock,
            title=gettext("Unlock users"),
            message=gettext(
                "Users are locked out after too many failed attempts. Unlocking clears the "
                "lockout for all clients."
            ),
            button=gettext("Unlock"),
        )

    @admin.action(description=_("Send confirmation link …"), permissions=["change"])
    def resend_verification(
        self, request: HttpRequest, queryset: QuerySet[User]
    ) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            partial(verification.resend_verification, now=timezone.now()),
            title=gettext("Send confirmation link"),
            message=gettext(
                "Users with an unconfirmed e-mail address get an e-mail with a new link. The "
                "others get no e-mail."
            ),
            button=gettext("Send confirmation link"),
        )

    @admin.action(description=_("Deactivate …"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            permissions.deactivate,
            title=gettext("Deactivate users"),
            message=gettext(
                "This signs the users out and revokes their API tokens. Requests from them "
                "and their devices are rejected until they are reactivated. Stored readings "
                "are kept."
            ),
            button=gettext("Deactivate"),
        )

    @admin.action(description=_("Reactivate …"), permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            permissions.reactivate,
            title=gettext("Reactivate users"),
            message=gettext(
                "The users can sign in again, and their devices' tokens work again. They need "
                "new API tokens."
            ),
            button=gettext("Reactivate"),
        )

    def _with_confirmation(
        self,
        request: HttpRequest,
        queryset: QuerySet[User],
        work: Callable[..., None],
        **texts: Any,
    ) -> HttpResponse | None:
        """Ask for confirmation, then call `work` for each selected user and report the results."""
        rows = confirmation.selected_or_error(self, request, queryset)
        if not rows or not confirmation.is_confirmed(request):
            return confirmation.render_confirmation(self, request, rows, **texts) if rows else None
        denied, skipped = [], []
        for user in rows:
            try:
                work(user, actor=get_staff_user(request))
            except permissions.UserPermissionDenied:
                denied.append(user.username)
            except (verification.AlreadyVerified, throttling.RateLimitExceeded):
                skipped.append(user.username)
        done = len(rows) - len(denied) - len(skipped)
        if done:
            text = ngettext("%(count)d user.", "%(count)d users.", done) % {"count": done}
            self.message_user(request, f"{texts['title']}: {text}", level=messages.SUCCESS)
        if skipped:
            text = gettext("Skipped (nothing to do, or rate limit reached): %(names)s.")
            text %= {"names": ", ".join(skipped)}
            self.message_user(request, text, level=messages.WARNING)
        if denied:
            text = gettext("You don't have permission to do this for %(names)s.") % {
                "names": ", ".join(denied)
            }
            self.message_user(request, text, level=messages.ERROR)
        return None
