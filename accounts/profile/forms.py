"""Forms for a user's own profile."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.fields import current_password_field, email_field, username_field
from accounts.models import User, available_time_zones


class ChangeEmailForm(forms.Form):
    """A new e-mail address, confirmed by the password."""

    email = email_field()
    password = current_password_field()


class ProfileForm(forms.Form):
    """Username, time zone and language."""

    username = username_field()
    time_zone = forms.ChoiceField(label=_("Time zone"))
    language = forms.ChoiceField(
        label=_("Language"),
        choices=[("", _("Browser's language")), *settings.LANGUAGES],
        required=False,
    )

    def __init__(self, data: Any = None, *, user: User) -> None:
        initial = {name: getattr(user, name) for name in self.base_fields}
        super().__init__(data, initial=initial)
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
        field.choices = [(name, name.replace("_", " ")) for name in sorted(available_time_zones())]
