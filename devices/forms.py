"""Forms for devices."""

import json
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from common import strict_json
from devices.models import MAX_EXPECTED_INTERVAL, Device

MAX_METADATA_LENGTH = 64 * 1024
"""Characters. `devices.services` checks the size of the parsed metadata."""


class DeviceForm(forms.Form):
    """Checks only the format of the input: `devices.services` validates and stores it."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        help_text=gettext_lazy("The name in the device list, such as “Greenhouse, north end”."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    device_type = forms.CharField(
        label=gettext_lazy("Type"),
        max_length=64,
        initial="generic",
        help_text=gettext_lazy("Devices of the same type accept the same commands."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    expected_interval = forms.IntegerField(
        label=gettext_lazy("Seconds between readings"),
        min_value=1,
        max_value=MAX_EXPECTED_INTERVAL,
        initial=60,
        help_text=gettext_lazy("If a device sends nothing for longer, it is shown as offline."),
    )
    metadata = forms.CharField(
        label=gettext_lazy("Metadata"),
        required=False,
        strip=False,
        max_length=MAX_METADATA_LENGTH,
        help_text=gettext_lazy('Your own notes about the device, as JSON: {"room": "attic"}.'),
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "mono"}),
    )

    @classmethod
    def for_device(cls, device: Device, data: Any = None) -> "DeviceForm":
        """Return a form with the current values of a device."""
        metadata = json.dumps(device.metadata, ensure_ascii=False, indent=2)
        values = {name: getattr(device, name) for name in cls.base_fields if name != "metadata"}
        return cls(data, initial={**values, "metadata": metadata if device.metadata else ""})

    def clean_metadata(self) -> Any:
        text = self.cleaned_data["metadata"]
        try:
            return strict_json.decode(text.encode() if text.strip() else b"{}")
        except strict_json.JSONSyntaxError as error:
            raise ValidationError(str(error)) from None

    def add_faults(self, error: strict_json.InvalidJSONValue) -> None:
        """Add each error to the metadata field, with its pointer."""
        for fault in error.faults:
            pointer = fault.pointer.removeprefix("/metadata")
            prefix = _("At {place}: ").format(place=pointer) if pointer else ""
            self.add_error("metadata", prefix + fault.detail)


class ConfirmDeletionForm(forms.Form):
    """Confirms the deletion of a device by its name."""

    confirmed_name = forms.CharField(
        label=gettext_lazy("Device name"),
        strip=True,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, device: Device, data: Any = None) -> None:
        super().__init__(data, prefix="delete")
        self.device = device

    def clean_confirmed_name(self) -> str:
        name: str = self.cleaned_data["confirmed_name"]
        if name != self.device.name.strip():
            raise ValidationError(_("This is not the device's name."))
        return name


class JSONObjectField(forms.CharField):
    """A JSON object in a text field: displayed indented, parsed as strictly as API requests."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("max_length", MAX_METADATA_LENGTH)
        # Error messages count positions in the unstripped input.
        super().__init__(strip=False, **kwargs)
        self.widget.attrs |= {"rows": 8, "spellcheck": "false", "class": "mono", "data-json": ""}

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return json.dumps({} if value is None else value, ensure_ascii=False, indent=2)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            parsed = strict_json.decode(text.encode() if text.strip() else b"{}")
        except strict_json.JSONSyntaxError as error:
            raise forms.ValidationError(str(error)) from None
        if faults := strict_json.validate_object(parsed, limit=settings.PAYLOAD_LIMIT):
            raise forms.ValidationError(
                [f"{fault.pointer} {fault.detail}".strip() for fault in faults]
            )
        return parsed

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial), data))
