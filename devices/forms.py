"""What people type about a device."""

import json
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from common import strict_json
from devices.models import LONGEST_INTERVAL, Device

LONGEST_METADATA = 64 * 1024
"""Characters; what it may be once it is read, the domain says."""


class DeviceForm(forms.Form):
    """Only the shape of what was typed: `devices.services` judges and stores it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        help_text=gettext_lazy(
            "What you will look for in the list, such as “Greenhouse, north end”."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    device_type = forms.CharField(
        label=gettext_lazy("Type"),
        max_length=64,
        initial="generic",
        help_text=gettext_lazy("Devices of one type understand the same commands."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    expected_interval = forms.IntegerField(
        label=gettext_lazy("Seconds between readings"),
        min_value=1,
        max_value=LONGEST_INTERVAL,
        initial=60,
        help_text=gettext_lazy("A device that is silent for longer is shown as offline."),
    )
    metadata = forms.CharField(
        label=gettext_lazy("Metadata"),
        required=False,
        strip=False,
        max_length=LONGEST_METADATA,
        help_text=gettext_lazy('Whatever you want to know about it, as JSON: {"room": "attic"}.'),
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "mono"}),
    )

    @classmethod
    def of(cls, device: Device, data: Any = None) -> "DeviceForm":
        """What is known of a device, to be changed."""
        metadata = json.dumps(device.metadata, ensure_ascii=False, indent=2)
        known = {name: getattr(device, name) for name in cls.base_fields if name != "metadata"}
        return cls(data, initial={**known, "metadata": metadata if device.metadata else ""})

    def clean_metadata(self) -> Any:
        typed = self.cleaned_data["metadata"]
        try:
            return strict_json.decode(typed.encode() if typed.strip() else b"{}")
        except strict_json.JSONSyntaxError as error:
            raise ValidationError(str(error)) from None

    def add_faults(self, error: strict_json.InvalidJSONValue) -> None:
        """Show each fault where it is in the metadata."""
        for fault in error.faults:
            inside = fault.pointer.removeprefix("/metadata")
            at = _("At {place}: ").format(place=inside) if inside else ""
            self.add_error("metadata", at + fault.detail)


class ConfirmDeletionForm(forms.Form):
    """The name, typed once more by whoever means it."""

    typed = forms.CharField(
        label=gettext_lazy("Its name"),
        strip=True,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, device: Device, data: Any = None) -> None:
        super().__init__(data, prefix="delete")
        self.device = device

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"]
        if typed != self.device.name.strip():
            raise ValidationError(_("This is not its name."))
        return typed


class JSONObjectField(forms.CharField):
    """A JSON object in a text field: shown readable, read as strictly as what devices send."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("max_length", LONGEST_METADATA)
        # The place of a fault is counted in what was typed.
        super().__init__(strip=False, **kwargs)
        self.widget.attrs |= {"rows": 8, "spellcheck": "false", "class": "mono", "data-json": ""}

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return json.dumps({} if value is None else value, ensure_ascii=False, indent=2)

    def clean(self, value: Any) -> Any:
        typed = super().clean(value)
        try:
            found = strict_json.decode(typed.encode() if typed.strip() else b"{}")
        except strict_json.JSONSyntaxError as error:
            raise forms.ValidationError(str(error)) from None
        if faults := strict_json.validate_object(found, limit=settings.PAYLOAD_LIMIT):
            raise forms.ValidationError(
                [f"{fault.pointer} {fault.detail}".strip() for fault in faults]
            )
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial), data))
