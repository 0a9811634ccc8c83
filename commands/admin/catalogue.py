"""Admin of command types."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.audit.admin_base import AutoAuditedAdmin
from commands import payload_schema
from commands.forms import CommandForm
from commands.models import CommandType
from devices.forms import JSONObjectField


class CommandTypeForm(forms.ModelForm[CommandType]):
    payload_schema = JSONObjectField(
        label=_("Payload schema"), help_text=_("JSON Schema (2020-12) for the payload.")
    )

    class Meta:
        model = CommandType
        fields = (
            "device_type",
            "command_name",
            "title",
            "payload_schema",
            "confirm",
            "default_expiry",
        )

    def clean_payload_schema(self) -> Any:
        schema = self.cleaned_data["payload_schema"]
        try:
            payload_schema.check_schema(schema)
        except payload_schema.InvalidSchema as error:
            raise forms.ValidationError(str(error)) from None
        return schema


@admin.register(CommandType)
class CommandTypeAdmin(AutoAuditedAdmin[CommandType]):
    """The catalogue: the commands that each device type accepts."""

    audit_category = "catalogue"
    form = CommandTypeForm
    list_display = ("device_type", "command_name", "title", "confirm", "default_expiry")
    list_filter = ("device_type",)
    search_fields = ("command_name", "title")
    change_form_template = "admin/commands/commandtype/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [path("preview/", view, name="commands_commandtype_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Show the form of an unsaved schema, or the errors of the schema."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = CommandTypeForm(request.POST)
        errors = form.errors.get("payload_schema")
        command_type = CommandType(
            command_name="preview", payload_schema=form.cleaned_data.get("payload_schema", {})
        )
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Preview"),
            "opts": self.opts,
            "faults": errors,
            "name": request.POST.get("title", ""),
            "form": None if errors else CommandForm([command_type]),
        }
        page = "admin/commands/commandtype/preview.html"
        return TemplateResponse(request, page, context, status=422 if errors else 200)
