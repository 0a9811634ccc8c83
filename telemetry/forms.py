"""What people choose about the values of a device."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from telemetry.keys import registry as keys
from telemetry.models import MOST_DECIMALS, Key


class KeyForm(forms.Form):
    """Only the shape of what was typed: `keys.change` judges and stores it.

    An empty field shows in grey what holds as long as it is empty.
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
        help_text=gettext_lazy("Such as °C, hPa or kWh. Enter 1 for a number without a unit."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    decimals = forms.IntegerField(
        label=gettext_lazy("Decimals"),
        min_value=0,
        max_value=MOST_DECIMALS,
        required=False,
        help_text=gettext_lazy(
            "How many are shown, 0 to 10. The charts and the API keep them all."
        ),
    )

    def __init__(self, key: Key, data: Any = None) -> None:
        chosen = {name: getattr(key, name) for name in self.base_fields}
        super().__init__(data, initial=chosen)
        for name, default in keys.guess_format(key.key)._asdict().items():
            hint = _("as they are") if default is None else default or _("none")
            self.fields[name].widget.attrs["placeholder"] = hint
