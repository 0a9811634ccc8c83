"""What people type about a device."""

import json
from typing import Any

from django import forms
from django.conf import settings

from devices import free_json
from devices.models import LONGEST_INTERVAL

LONGEST_OBJECT = 64 * 1024
"""Characters of an object that is typed; what it may be once it is read, the domain says."""


class NewDeviceForm(forms.Form):
    """Only the shape of what was typed: `enrolment.register` judges and stores it."""

    name = forms.CharField(
        max_length=200,
        help_text="What you will look for in the list, such as “Greenhouse, north end”.",
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
    )
    device_type = forms.CharField(
        label="Type",
        max_length=64,
        initial="generic",
        help_text="Devices of one type understand the same commands.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    expected_interval = forms.IntegerField(
        label="Seconds between readings",
        min_value=1,
        max_value=LONGEST_INTERVAL,
        initial=60,
        help_text="A device that is silent for longer is shown as offline.",
    )


class JSONObjectField(forms.CharField):
    """A JSON object in a text field: shown readable, read as strictly as what devices send."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("max_length", LONGEST_OBJECT)
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
            found = free_json.decode(typed.encode() if typed.strip() else b"{}")
        except free_json.NotJSON as error:
            raise forms.ValidationError(str(error)) from None
        if faults := free_json.check_object(found, limit=settings.PAYLOAD_LIMIT):
            raise forms.ValidationError(
                [f"{fault.pointer} {fault.detail}".strip() for fault in faults]
            )
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial), data))
