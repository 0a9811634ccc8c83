"""What people type about a device."""

from django import forms

from devices.models import LONGEST_INTERVAL


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
