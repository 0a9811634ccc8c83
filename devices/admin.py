"""Admin of devices. telemetry_site extends and registers it with data of other apps."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.audit.admin_base import AuditedAdmin
from accounts.authentication.drf import lacks_code
from accounts.authentication.login import restart_login
from accounts.models import User
from common.admin import confirmation
from common.admin.filters import AutocompleteFilter, autocomplete_media
from common.admin.widgets import SafeAutocompleteSelect
from devices import services as device_services
from devices.admin_filters import StatusFilter, TypeFilter
from devices.forms import JSONObjectField
from devices.models import Device

MAX_ROTATED_TOKENS = 100


class DeviceForm(forms.ModelForm[Device]):
    metadata = JSONObjectField(label=_("Metadata"))

    class Meta:
        model = Device
        fields = ("user", "name", "device_type", "expected_interval", "metadata")


class OwnerForm(forms.Form):
    """Chooses the new owner of devices."""

    user = forms.ModelChoiceField(User.objects.active(), label=_("New owner"))
    revoke_tokens = forms.BooleanField(
        label=_("Revoke all tokens of the devices"),
        help_text=_("The devices cannot send until they get new tokens."),
        required=False,
    )

    def __init__(self, widget: forms.Widget, *args: Any) -> None:
        super().__init__(*args)
        self.fields["user"].widget = widget
        widget.choices = self.fields["user"].choices  # type: ignore[attr-defined]


class DeviceAdmin(AuditedAdmin[Device]):
    """All writes go through `devices.services`, as in the API and the pages."""

    form = DeviceForm
    list_display: tuple[Any, ...] = ("name", "presence", "owner", "device_type", "last_seen")
    list_filter = (StatusFilter, TypeFilter, ("user", AutocompleteFilter))
    list_select_related = ("user",)
    list_per_page = 50
    ordering = ("name", "id")
    sortable_by = ("name", "device_type", "last_seen")
    search_fields = ("name",)
    search_help_text = _("Search name, owner, e-mail, id or metadata")
    readonly_fields = (
        "id",
        "owner",
        "presence",
        "last_seen_at",
        "deactivated_at",
        "created_at",
        "updated_at",
    )
    actions: tuple[str, ...] = (
        "deactivate",
        "reactivate",
        "change_owner",
        "rotate_tokens",
        "purge",
    )

    @property
    def media(self) -> forms.Media:
        return super().media + autocomplete_media(self)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        return Device.objects.filter(deleted_at=None).with_presence(timezone.now())

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[QuerySet[Device], bool]:
        text = search_term.strip()[:200]
        return (queryset.search(text) if text else queryset), False

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> Any:
        if obj is None:
            return DeviceForm.Meta.fields
        return (*DeviceForm.Meta.fields[1:], *self.get_readonly_fields(request, obj))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # The purge action replaces it, because it would list every row before it deletes them.
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.display(description=_("status"))
    def presence(self, device: Any) -> SafeString:
        if device.deactivated_at:
            state, label = "deactivated", gettext("Deactivated")
        elif device.online:
            state, label = "online", gettext("Online")
        elif device.last_seen_at:
            state, label = "offline", gettext("Offline")
        else:
            state, label = "never", gettext("Never seen")
        return format_html('<span class="state {}">{}</span>', state, label)

    @admin.display(description=_("owner"), ordering="user__username")
    def owner(self, device: Device) -> str:
        return f"{device.user.username} ({device.user.email})"

    @admin.display(description=_("last seen"), ordering="last_seen_at")
    def last_seen(self, device: Device) -> Any:
        return device.last_seen_at

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        if change:
            device_services.update_device(
                obj, **{field: form.cleaned_data[field] for field in form.fields}
            )
            return
        values = dict(form.cleaned_data)
        device, secret = device_services.create_device(values.pop("user"), **values)
        obj.pk, obj._state.adding = device.pk, False
        obj.first_token = secret.text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Device, post_url_continue: str | None = None
    ) -> HttpResponse:
        # The token is in the response, because a message would store it in a cookie or a session.
        token = obj.first_token  # type: ignore[attr-defined]
        return self._render_new_tokens(request, [(obj, token)])

    @admin.action(description=_("Deactivate …"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            lambda rows: device_services.deactivate(rows, now=timezone.now()),
            title=gettext("Deactivate devices"),
            message=gettext(
                "The devices' tokens stop working: the devices cannot send readings or fetch "
                "commands. Stored data is kept. You can reactivate the devices later."
            ),
            button=gettext("Deactivate"),
        )

    @admin.action(description=_("Reactivate …"), permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            lambda rows: device_services.reactivate(rows, now=timezone.now()),
            title=gettext("Reactivate devices"),
            message=gettext("The devices' existing tokens work again."),
            button=gettext("Reactivate"),
        )

    @admin.action(description=_("Change the owner …"), permissions=["change"])
    def change_owner(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        widget = SafeAutocompleteSelect(Device._meta.get_field("user"), self.admin_site)
        form = OwnerForm(widget, request.POST if confirmation.is_confirmed(request) else None)
        return self._with_confirmation(
            request,
            queryset,
            lambda rows: device_services.transfer(rows, now=timezone.now(), **form.cleaned_data),
            title=gettext("Change the owner"),
            message=gettext(
                "The devices and all their readings will belong to the new owner. Tokens that "
                "were never used are revoked. The old owner may know the other tokens: revoke "
                "them too if the old owner must no longer send for these devices."
            ),
            button=gettext("Change the owner"),
            form=form,
        )

    @admin.action(description=_("Rotate the tokens …"), permissions=["change"])
    def rotate_tokens(
        self, request: HttpRequest, queryset: QuerySet[Device]
    ) -> HttpResponse | None:
        if lacks_code(request):
            return restart_login(request)
        rows = confirmation.selected_or_error(self, request, queryset, limit=MAX_ROTATED_TOKENS)
        if rows and confirmation.is_confirmed(request):
            now = timezone.now()
            new_tokens = []
            for device in rows:
                # Skip devices that were deleted or transferred meanwhile.
                with suppress(Device.DoesNotExist):
                    secret = device_services.rotate_token(device, now=now)[1]
                    new_tokens.append((device, secret.text))
            return self._render_new_tokens(request, new_tokens)
        message = gettext(
            "Each device gets one new token, shown once on the next page. Its current token "
            "works until one hour after the new one is first used. All its other tokens stop "
            "working immediately."
        )
        title = gettext("Rotate the tokens")
        return self._confirm(request, rows, title=title, message=message, button=title)

    @admin.action(description=_("Delete permanently …"), permissions=["delete"])
    def purge(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return self._with_confirmation(
            request,
            queryset,
            lambda rows: self.decommission(request, rows),
            title=gettext("Delete devices permanently"),
            message=gettext(
                "The devices disappear immediately. The worker then deletes all their readings,"
                " commands and tokens in batches. This cannot be undone."
            ),
            button=gettext("Delete permanently"),
            danger=True,
        )

    def decommission(self, request: HttpRequest, rows: Sequence[Device]) -> int:
        return device_services.soft_delete(*rows, now=timezone.now())

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        self.decommission(request, [obj])

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # The readings are not listed, because there may be millions.
        text = gettext("%(name)s, with all its readings and commands")
        names = [text % {"name": device.name} for device in objs]
        return names, {gettext("devices"): len(names)}, set(), []

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user":
            kwargs["queryset"] = User.objects.active()
            kwargs["widget"] = SafeAutocompleteSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _with_confirmation(
        self,
        request: HttpRequest,
        queryset: QuerySet[Device],
        action: Callable[[list[Device]], int],
        *,
        form: forms.Form | None = None,
        **page: Any,
    ) -> HttpResponse | None:
        """Run an action after its confirmation, and display how many devices it changed."""
        rows = confirmation.selected_or_error(self, request, queryset)
        if not (rows and confirmation.is_confirmed(request) and (form is None or form.is_valid())):
            return self._confirm(request, rows, form=form, **page)
        changed = action(rows)
        count = ngettext("%(count)d device.", "%(count)d devices.", changed) % {"count": changed}
        level = messages.SUCCESS if changed else messages.WARNING
        self.message_user(request, f"{page['title']}: {count}", level=level)
        return None

    def _confirm(
        self, request: HttpRequest, rows: list[Device], **page: Any
    ) -> HttpResponse | None:
        return confirmation.render_confirmation(self, request, rows, **page) if rows else None

    def _render_new_tokens(
        self, request: HttpRequest, tokens: list[tuple[Device, str]]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Tokens"),
            "secrets": tokens,
        }
        return TemplateResponse(request, "admin/device_secrets.html", context)
