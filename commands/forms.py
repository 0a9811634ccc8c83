"""What people fill in to send a command."""

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

LIVES = {
    60: gettext_lazy("1 minute"),
    600: gettext_lazy("10 minutes"),
    3600: gettext_lazy("1 hour"),
    6 * 3600: gettext_lazy("6 hours"),
    24 * 3600: gettext_lazy("1 day"),
    7 * 24 * 3600: gettext_lazy("7 days"),
    30 * 24 * 3600: gettext_lazy("30 days"),
}
"""How long one may wait, in seconds."""


class CommandForm(PayloadForm):
    """A command of the catalogue, with a field for each part of its payload, or any command.

    Only the shape of what was typed: the domain judges and stores it.
    """

    def __init__(
        self, kinds: list[CommandType], data: Any = None, *, command_name: str = ""
    ) -> None:
        self.kinds = kinds
        known = {kind.command_name: kind for kind in kinds}
        asked = command_name if data is None else data.get("command_name", "")
        first = kinds[0] if kinds and data is None else None
        self.kind = known.get(asked, first)
        schema = self.kind.payload_schema if self.kind else {}
        # With a broken one there is a field for JSON, and the domain says what is wrong.
        super().__init__(schema if payload_schema.is_valid_schema(schema) else {}, data)
        life = self.kind.default_expiry if self.kind else DEFAULT_TTL
        self.fields["expires_in"] = _ttl_field(life)
        # Sent twice by mistake, a form is one command.
        self.fields["once"] = forms.RegexField(
            r"^[0-9a-f]{32}\Z", required=False, widget=forms.HiddenInput, initial=_new_form_id
        )
        self.fields["command_name"] = _name_field(self.kind, asked)
        self.order_fields(["command_name"])

    @property
    def title(self) -> str:
        """The chosen command as people call it."""
        return self.kind.title if self.kind else str(self["command_name"].value() or "")

    @property
    def asks(self) -> bool:
        """Whether the catalogue wants the sender to be sure."""
        return bool(self.kind and self.kind.confirm)

    @property
    def command(self) -> dict[str, Any]:
        """What a valid form asks for, as the domain takes it."""
        seconds = self.cleaned_data["expires_in"]
        return {
            "command_name": self.cleaned_data["command_name"],
            "payload": self.payload,
            "expires_in": timedelta(seconds=int(seconds)) if seconds else None,
            "idempotency_key": self.cleaned_data["once"],
        }

    def add_faults(self, error: InvalidJSONValue) -> None:
        """Show each fault at its field."""
        for fault in error.faults:
            if fault.pointer == "/command_name":
                self.add_error("command_name", fault.detail)
            else:
                self.add_fault(fault)

    def send_to_many(self, devices: list[Device], *, issued_by: User) -> CommandBatch | None:
        """The new batch, or None when the form tells why there is none."""
        try:
            return batches.issue(devices, issued_by=issued_by, now=timezone.now(), **self.command)
        except InvalidJSONValue as error:
            self.add_faults(error)
        except ValidationError as error:
            self.add_error(None, error)
        except batches.AllRejected as error:
            reasons = sorted({refusal["detail"] for refusal in error.refused})
            self.add_error(None, ValidationError([_("None of these devices takes it."), *reasons]))
        except IdempotencyKeyReused:
            self.add_sent_before()
        return None

    def send(self, device: Device, *, issued_by: User) -> Command | None:
        """The new command, or None when the form tells why there is none."""
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
            self.add_sent_before()
        return None

    def add_queue_full(self) -> None:
        waiting = {"count": settings.PENDING_COMMANDS_PER_DEVICE}
        detail = _("%(count)s commands wait for this device already. Cancel one, or wait.")
        self.add_error(None, detail % waiting)

    def add_sent_before(self) -> None:
        """Tell that this very form was sent with other values; once more it is a new one."""
        posted: Any = self.data
        self.data = posted.copy()
        self.data["once"] = _new_form_id()  # type: ignore[index]
        self.add_error(None, _("This form has been sent already. Send it again if you mean it."))


class FilterForm(forms.Form):
    """Which devices one looks for."""

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
        error_messages={"invalid": gettext_lazy("Like room=kitchen.")},
        widget=forms.TextInput(attrs={"placeholder": "room=kitchen"}),
    )

    def wanted(self) -> dict[str, Any]:
        """As `Device.objects.having` takes it; what makes no sense is not asked."""
        self.is_valid()
        found = self.cleaned_data
        key, _equals, value = found.get("metadata", "").partition("=")
        return {
            "search": found.get("q", ""),
            "status": found.get("status", ""),
            "device_type": found.get("device_type", ""),
            "metadata": {key.strip(): value.strip()} if key else {},
        }


def _new_form_id() -> str:
    return uuid4().hex


def _ttl_field(default: int) -> forms.Field:
    lives = LIVES if default in LIVES else {**LIVES, default: _words(default)}
    return forms.ChoiceField(
        label=_("Waits for the device at most"),
        choices=sorted(lives.items()),
        initial=default,
        required=False,
    )


def _name_field(kind: CommandType | None, asked: str) -> forms.Field:
    if kind:
        return forms.CharField(initial=kind.command_name, widget=forms.HiddenInput)
    return forms.RegexField(
        COMMAND_NAME,
        label=_("Command"),
        initial=asked,
        error_messages={"invalid": _("1 to 64 of the characters A-Z a-z 0-9 _ . : -")},
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


def _words(seconds: int) -> str:
    for size, words in (
        (86400, _("%(count)s days")),
        (3600, _("%(count)s hours")),
        (60, _("%(count)s minutes")),
    ):
        if seconds % size == 0:
            return words % {"count": seconds // size}
    return _("%(count)s seconds") % {"count": seconds}
