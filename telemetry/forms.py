"""The form for the display format of a key."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from telemetry.keys import registry as keys
from telemetry.models import MAX_DECIMALS, Key


class KeyForm(forms.Form):
    """Label, unit and decimals of a key; `registry.update_key` validates and stores them.

    An empty field has the default as its placeholder.
    """

    label = forms.CharField(
        label=gettext_lazy("Label"),
        max_length=64,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    unit = forms.CharField(
        label=gettext_lazy("Unit"),
        max_length=16,
        required=False,
        help_text=gettext_lazy(
            "Such as °C, hPa or kWh. Leave empty for the default; enter 1 for no unit."
        ),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    decimals = forms.IntegerField(
        label=gettext_lazy("Decimals"),
        min_value=0,
        max_value=MAX_DECIMALS,
        required=False,
        help_text=gettext_lazy(
            "Decimals to display, 0 to 10. Charts and the API keep full precision."
        ),
    )

    def __init__(self, key: Key, data: Any = None) -> None:
        initial = {name: getattr(key, name) for name in self.base_fields}
        super().__init__(data, initial=initial)
        for name, default in keys.guess_format(key.key)._asdict().items():
            hint = _("unchanged") if default is None else default or _("none")
            self.fields[name].widget.attrs["placeholder"] = hint
