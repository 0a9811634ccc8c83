"""Forms for two-factor authentication."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from accounts.fields import current_password_field
from accounts.models import User


class MfaCodeForm(forms.Form):
    """A code of the authenticator or a recovery code."""

    code = forms.CharField(max_length=40)

    def __init__(self, *args: Any, recovery: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        attributes = {"autocomplete": "one-time-code", "autofocus": True, "autocapitalize": "none"}
        field = self.fields["code"]
        field.label = _("Recovery code") if recovery else _("6-digit code")
        if not recovery:
            attributes["inputmode"] = "numeric"
        field.widget = forms.TextInput(attrs={"maxlength": 40, "class": "code", **attributes})


class ReauthenticationForm(forms.Form):
    """Reauthentication of a signed-in user: a code, and the password if the user has one."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"] = MfaCodeForm().fields["code"]
        self.fields["code"].label = _("6-digit code or recovery code")
        self.fields["code"].widget.attrs.pop("inputmode")
        if user.has_usable_password():
            self.fields["password"] = current_password_field()


class MfaSetupForm(ReauthenticationForm):
    """Setup: the first code of a new authenticator, and the password if the user has one."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        code = MfaCodeForm().fields["code"]
        code.label = _("6-digit code")
        code.widget.attrs.pop("autofocus")
        self.fields["code"] = code
