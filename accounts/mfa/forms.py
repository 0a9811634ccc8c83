"""Forms for two-factor authentication."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.passwords import validators


class MfaCodeForm(forms.Form):
    """A code of the authenticator, or one of those that are kept for when it is lost."""

    code = forms.CharField(max_length=40)

    def __init__(self, *args: Any, recovery: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        attributes = {"autocomplete": "one-time-code", "autofocus": True, "autocapitalize": "none"}
        field = self.fields["code"]
        field.label = _("Recovery code") if recovery else _("Code")
        if not recovery:
            attributes["inputmode"] = "numeric"
        field.widget = forms.TextInput(attrs={"maxlength": 40, "class": "code", **attributes})


class ReauthenticationForm(forms.Form):
    """The user who is signed in shows again who they are: by a code of the second factor, and by
    the password where they have one.
    """

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"] = MfaCodeForm().fields["code"]
        self.fields["code"].label = _("Code of your authenticator, or a recovery code")
        self.fields["code"].widget.attrs.pop("inputmode")
        if user.has_usable_password():
            self.fields["password"] = forms.CharField(
                label=_("Your password"),
                strip=False,
                max_length=validators.MAX_PASSWORD_LENGTH,
                widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
            )


class MfaSetupForm(ReauthenticationForm):
    """The first code of a new authenticator, and the password where there is one."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        code = MfaCodeForm().fields["code"]
        code.label = _("The code that it shows")
        code.widget.attrs.pop("autofocus")
        self.fields["code"] = code
