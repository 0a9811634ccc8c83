"""Forms to send commands."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from commands import payload_schema
from commands import services as command_services
from commands.batches import services as batches
from commands.models import COMMAND_NAME, DEFAULT_TTL, Command, CommandBatch, CommandType
from commands.payload_form import PayloadForm
from common.api.idempotency_keys import IdempotencyKeyReused
from common.strict_json import InvalidJSONValue
from devices.models import Device

TTL_CHOICES = {
    60: gettext_lazy("1 minute"),
    600: gettext_lazy("10 minutes"),
    3600: gettext_lazy("1 hour"),
    6 * 3600: gettext_lazy("6 hours"),
    24 * 3600: gettext_lazy("1 day"),
    7 * 24 * 3600: gettext_lazy("7 days"),
    30 * 24 * 3600: gettext_lazy("30 days"),
}
"""Choices of how long a command may be pending, in seconds."""


class CommandForm(PayloadForm):
    """A form for one command: with fields for its payload if the catalogue has it, or any command.

    It checks only the format of the input: `commands.services` validates and stores it.
    """

    def __init__(
        self, command_types: list[CommandType], data: Any = None, *, command_name: str = ""
    ) -> None:
        self.command_types = command_types
        by_name = {command_type.command_name: command_type for command_type in command_types}
        name = command_name if data is None else data.get("command_name", "")
        first = command_types[0] if command_types and data is None else None
        self.command_type = by_name.get(name, first)
        schema = self.command_type.payload_schema if self.command_type else {}
        # For an invalid schema the form has a JSON field, and validation reports the error.
        super().__init__(schema if payload_schema.is_valid_schema(schema) else {}, data)
        default_ttl = self.command_type.default_expiry if self.command_type else DEFAULT_TTL
        self.fields["expires_in"] = _ttl_field(default_ttl)
        # The idempotency key: a form that is submitted twice creates one command.
        self.fields["form_id"] = forms.RegexField(
            r"^[0-9a-f]{32}\Z", required=False, widget=forms.HiddenInput, initial=_new_form_id
        )
        self.fields["command_name"] = _name_field(self.command_type, name)
        self.order_fields(["command_name"])

    @property
    def title(self) -> str:
        """The title of the chosen command."""
        return (
            self.command_type.title
            if self.command_type
            else str(self["command_name"].value() or "")
        )

    @property
    def requires_confirmation(self) -> bool:
        """Whether the user must confirm this command before it is sent."""
        return bool(self.command_type and self.command_type.confirm)

    @property
    def command(self) -> dict[str, Any]:
        """The keyword arguments of `create_command` from a valid form."""
        seconds = self.cleaned_data["expires_in"]
        return {
            "command_name": self.cleaned_data["command_name"],
            "payload": self.payload,
            "expires_in": timedelta(seconds=int(seconds)) if seconds else None,
            "idempotency_key": self.cleaned_data["form_id"],
        }

    def add_faults(self, error: InvalidJSONValue) -> None:
        """Add each error to its field."""
        for fault in error.faults:
            if fault.pointer == "/command_name":
                self.add_error("command_name", fault.detail)
            else:
                self.add_fault(fault)

    def send_to_many(self, devices: list[Device], *, issued_by: User) -> CommandBatch | None:
        """Create and return a batch; on failure add the errors to the form and return None."""
        try:
            return batches.create_batch(
                devices, issued_by=issued_by, now=timezone.now(), **self.command
            )
        except InvalidJSONValue as error:
            self.add_faults(error)
        except ValidationError as error:
            self.add_error(None, error)
        except batches.AllRejected as error:
            reasons = sorted({rejection["detail"] for rejection in error.rejected})
            self.add_error(
                None, ValidationError([_("None of these devices accepts this command."), *reasons])
            )
        except IdempotencyKeyReused:
            self.add_already_sent()
        return None

    def send(self, device: Device, *, issued_by: User) -> Command | None:
        """Create and return a command; on failure add the errors to the form and return None."""
        try:
            return command_services.create_command(
                device, issued_by=issued_by, now=timezone.now(), **self.command
            )
        except InvalidJSONValue as error:
            self.add_faults(error)
        except ValidationError as error:
            self.add_error(None, error)
        except command_services.QueueFull:
            self.add_queue_full()
        except IdempotencyKeyReused:
            self.add_already_sent()
        return None

    def add_queue_full(self) -> None:
        params = {"count": settings.PENDING_COMMANDS_PER_DEVICE}
        detail = _("This device already has %(count)s pending commands. Cancel one, or wait.")
        self.add_error(None, detail % params)

    def add_already_sent(self) -> None:
        """Add the error that this form was submitted with other values, and give it a new id."""
        posted: Any = self.data
        self.data = posted.copy()
        self.data["form_id"] = _new_form_id()  # type: ignore[index]
        self.add_error(
            None, _("This form has already been sent. To send it twice, press Send again.")
        )


class FilterForm(forms.Form):
    """Filters for devices."""

    q = forms.CharField(label=gettext_lazy("Name"), required=False, max_length=200)
    status = forms.ChoiceField(
        label=gettext_lazy("Status"),
        required=False,
        choices=[
            ("", gettext_lazy("Any")),
            ("online", gettext_lazy("Online")),
            ("offline", gettext_lazy("Offline")),
        ],
    )
    device_type = forms.CharField(label=gettext_lazy("Type"), required=False, max_length=64)
    metadata = forms.RegexField(
        r"^[^=]{1,64}=.{0,200}\Z",
        label=gettext_lazy("Metadata"),
        required=False,
        error_messages={"invalid": gettext_lazy("Use the form key=value, such as room=kitchen.")},
        widget=forms.TextInput(attrs={"placeholder": "room=kitchen"}),
    )

    def filter_kwargs(self) -> dict[str, Any]:
        """Return the arguments of `Device.objects.filter_by`. Invalid values are ignored."""
        self.is_valid()
        values = self.cleaned_data
        key, _equals, value = values.get("metadata", "").partition("=")
        return {
            "search": values.get("q", ""),
            "status": values.get("status", ""),
            "device_type": values.get("device_type", ""),
            "metadata": {key.strip(): value.strip()} if key else {},
        }


def _new_form_id() -> str:
    return uuid4().hex


def _ttl_field(default: int) -> forms.Field:
    choices = (
        TTL_CHOICES
        if default in TTL_CHOICES
        else {**TTL_CHOICES, default: _format_duration(default)}
    )
    return forms.ChoiceField(
        label=_("Give up after"),
        choices=sorted(choices.items()),
        initial=default,
        required=False,
    )


def _name_field(command_type: CommandType | None, name: str) -> forms.Field:
    if command_type:
        return forms.CharField(initial=command_type.command_name, widget=forms.HiddenInput)
    return forms.RegexField(
        COMMAND_NAME,
        label=_("Command"),
        initial=name,
        error_messages={"invalid": _("Use 1 to 64 of the characters A-Z a-z 0-9 _ . : -")},
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


def _format_duration(seconds: int) -> str:
    for size, text in (
        (86400, _("%(count)s days")),
        (3600, _("%(count)s hours")),
        (60, _("%(count)s minutes")),
    ):
        if seconds % size == 0:
            return text % {"count": seconds // size}
    return _("%(count)s seconds") % {"count": seconds}
