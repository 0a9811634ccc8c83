"""Devices, for staff. The roof adds what other apps know of them, and registers it."""

from collections.abc import Callable, Sequence
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
from accounts.authentication.login import sign_in_anew
from accounts.models import User
from common.admin import confirmation
from common.admin.filters import AutocompleteFilter, autocomplete_media
from common.admin.widgets import SafeAutocompleteSelect
from common.db import loose_index_scan
from devices import services as device_services
from devices.forms import JSONObjectField
from devices.models import Device

MAX_TYPES_LISTED = 50
MAX_ROTATED_TOKENS = 100


class DeviceForm(forms.ModelForm[Device]):
    metadata = JSONObjectField(label=_("Metadata"))

    class Meta:
        model = Device
        fields = ("user", "name", "device_type", "expected_interval", "metadata")


class OwnerForm(forms.Form):
    """Whom devices are given to."""

    user = forms.ModelChoiceField(User.objects.filter(is_active=True), label=_("New owner"))
    revoke_tokens = forms.BooleanField(
        label=_("Revoke all tokens of the devices"),
        help_text=_("The devices can send nothing until they get new tokens."),
        required=False,
    )

    def __init__(self, widget: forms.Widget, *args: Any) -> None:
        super().__init__(*args)
        self.fields["user"].widget = widget
        widget.choices = self.fields["user"].choices  # type: ignore[attr-defined]


class StatusFilter(admin.SimpleListFilter):
    """Worked out as everywhere, not as last announced."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("online", _("Online")),
            ("offline", _("Offline")),
            ("never", _("Never seen")),
            ("deactivated", _("Deactivated")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        match self.value():
            case "online":
                return queryset.online(now)
            case "offline":
                return queryset.offline(now).exclude(last_seen_at=None)
            case "never":
                return queryset.filter(last_seen_at=None)
            case "deactivated":
                return queryset.exclude(deactivated_at=None)
        return queryset


class TypeFilter(admin.SimpleListFilter):
    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        living = loose_index_scan.distinct_values(
            Device, "device_type", limit=MAX_TYPES_LISTED, where="deleted_at IS NULL"
        )
        return [(kind, kind) for kind in living]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return queryset.filter(device_type=self.value()) if self.value() else queryset


class DeviceAdmin(AuditedAdmin[Device]):
    """Every write goes through enrolment, as it does from the API and the pages."""

    form = DeviceForm
    list_display: tuple[Any, ...] = ("name", "presence", "owner", "device_type", "last_seen")
    list_filter = (StatusFilter, TypeFilter, ("user", AutocompleteFilter))
    list_select_related = ("user",)
    list_per_page = 50
    ordering = ("name", "id")
    sortable_by = ("name", "device_type", "last_seen")
    search_fields = ("name",)
    search_help_text = _(
        "A part of a name, of an owner's name or e-mail address; or, in full, an id or a value in "
        "the metadata."
    )
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
        return (queryset.found_by(text) if text else queryset), False

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> Any:
        if obj is None:
            return DeviceForm.Meta.fields
        return (*DeviceForm.Meta.fields[1:], *self.get_readonly_fields(request, obj))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # A purge takes its place: to name everything that goes would take longer than to remove it.
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.display(description=_("status"))
    def presence(self, device: Any) -> SafeString:
        if device.deactivated_at:
            state, words = "deactivated", gettext("Deactivated")
        elif device.online:
            state, words = "online", gettext("Online")
        elif device.last_seen_at:
            state, words = "offline", gettext("Offline")
        else:
            state, words = "never", gettext("Never seen")
        return format_html('<span class="state {}">{}</span>', state, words)

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
        obj.first_secret = secret.text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Device, post_url_continue: str | None = None
    ) -> HttpResponse:
        # In the answer itself: a message would leave the secret in a cookie or a session.
        secret = obj.first_secret  # type: ignore[attr-defined]
        return self._show_secrets(request, [(obj, secret)])

    @admin.action(description=_("Deactivate …"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            lambda rows: device_services.deactivate(rows, now=timezone.now()),
            title=gettext("Deactivate devices"),
            words=gettext(
                "Their tokens are refused from now on: they send nothing and fetch no commands. "
                "What is stored stays, and they can be reactivated."
            ),
            button=gettext("Deactivate"),
        )

    @admin.action(description=_("Reactivate …"), permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            lambda rows: device_services.reactivate(rows, now=timezone.now()),
            title=gettext("Reactivate devices"),
            words=gettext("They are let in again with the tokens they have."),
            button=gettext("Reactivate"),
        )

    @admin.action(description=_("Change the owner …"), permissions=["change"])
    def change_owner(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        widget = SafeAutocompleteSelect(Device._meta.get_field("user"), self.admin_site)
        form = OwnerForm(widget, request.POST if confirmation.is_confirmed(request) else None)
        return self._confirmed(
            request,
            queryset,
            lambda rows: device_services.transfer(rows, now=timezone.now(), **form.cleaned_data),
            title=gettext("Change the owner"),
            words=gettext(
                "The devices and all their readings belong to the new owner from now on. Tokens "
                "that were never used end. The old owner may know the others: revoke them, too, if "
                "the old owner must not send for these devices any more."
            ),
            button=gettext("Change the owner"),
            form=form,
        )

    @admin.action(description=_("Rotate the tokens …"), permissions=["change"])
    def rotate_tokens(
        self, request: HttpRequest, queryset: QuerySet[Device]
    ) -> HttpResponse | None:
        if lacks_code(request):
            return sign_in_anew(request)
        rows = confirmation.selected_or_error(self, request, queryset, limit=MAX_ROTATED_TOKENS)
        if rows and confirmation.is_confirmed(request):
            now = timezone.now()
            fresh = [
                (device, device_services.rotate_token(device, now=now)[1].text) for device in rows
            ]
            return self._show_secrets(request, fresh)
        words = gettext(
            "Each gets one new token, shown once, on the next page. The token it speaks with works "
            "until an hour after the first use of the new one; all others are refused from now on."
        )
        title = gettext("Rotate the tokens")
        return self._ask(request, rows, title=title, words=words, button=title)

    @admin.action(description=_("Purge …"), permissions=["delete"])
    def purge(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse | None:
        return self._confirmed(
            request,
            queryset,
            lambda rows: self.decommission(request, rows),
            title=gettext("Purge devices"),
            words=gettext(
                "They disappear at once. The worker then removes every reading, command and token "
                "of theirs, a batch at a time. This cannot be undone."
            ),
            button=gettext("Purge for good"),
            danger=True,
        )

    def decommission(self, request: HttpRequest, rows: Sequence[Device]) -> int:
        return device_services.soft_delete(*rows, now=timezone.now())

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        self.decommission(request, [obj])

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # Not each of its readings: there may be millions.
        words = gettext("%(name)s, with all its readings and commands")
        names = [words % {"name": device.name} for device in objs]
        return names, {gettext("devices"): len(names)}, set(), []

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user":
            kwargs["queryset"] = User.objects.filter(is_active=True)
            kwargs["widget"] = SafeAutocompleteSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _confirmed(
        self,
        request: HttpRequest,
        queryset: QuerySet[Device],
        work: Callable[[list[Device]], int],
        *,
        form: forms.Form | None = None,
        **asked: Any,
    ) -> HttpResponse | None:
        """Ask first; once that is answered, do it and say how many devices it changed."""
        rows = confirmation.selected_or_error(self, request, queryset)
        if not (rows and confirmation.is_confirmed(request) and (form is None or form.is_valid())):
            return self._ask(request, rows, form=form, **asked)
        changed = work(rows)
        words = ngettext("%(count)d device.", "%(count)d devices.", changed) % {"count": changed}
        level = messages.SUCCESS if changed else messages.WARNING
        self.message_user(request, f"{asked['title']}: {words}", level=level)
        return None

    def _ask(self, request: HttpRequest, rows: list[Device], **asked: Any) -> HttpResponse | None:
        return confirmation.render_confirmation(self, request, rows, **asked) if rows else None

    def _show_secrets(
        self, request: HttpRequest, secrets: list[tuple[Device, str]]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Tokens"),
            "secrets": secrets,
        }
        return TemplateResponse(request, "admin/device_secrets.html", context)
