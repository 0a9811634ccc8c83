"""What people type to send a command."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from commands import catalogue
from commands.models import COMMAND_NAME
from devices import free_json
from devices.models import Device

LONGEST_PAYLOAD = 64 * 1024
"""Characters; what it may be once it is read, the domain says."""


class CommandForm(forms.Form):
    """Only the shape of what was typed: `lifecycle.issue` judges and stores it."""

    command_name = forms.RegexField(
        COMMAND_NAME,
        label="Command",
        error_messages={"invalid": "1 to 64 of the characters A-Z a-z 0-9 _ . : -"},
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    payload = forms.CharField(
        label="Payload",
        required=False,
        # The place of a fault is counted in what was typed.
        strip=False,
        initial="{}",
        max_length=LONGEST_PAYLOAD,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "mono"}),
    )

    def __init__(self, device: Device, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if known := catalogue.for_device(device):
            choices = [(kind.command_name, kind.title) for kind in known]
            self.fields["command_name"].widget = forms.Select(choices=choices)

    def clean_payload(self) -> Any:
        typed = self.cleaned_data["payload"]
        try:
            return free_json.decode(typed.encode() if typed.strip() else b"{}")
        except free_json.NotJSON as error:
            raise ValidationError(str(error)) from None

    def add_faults(self, error: free_json.InvalidJSON) -> None:
        """Show each fault at the field that its pointer begins with."""
        for fault in error.faults:
            field, _, inside = fault.pointer.removeprefix("/").partition("/")
            at = f"At /{inside}: " if inside else ""
            self.add_error(field, at + fault.detail)

    def add_queue_full(self) -> None:
        waiting = settings.PENDING_COMMANDS_PER_DEVICE
        self.add_error(
            None, f"{waiting} commands wait for this device already. Cancel one, or wait."
        )
