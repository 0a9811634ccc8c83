"""What people type about themselves."""

from typing import Any

from django import forms
from django.contrib.auth.forms import (
    AdminPasswordChangeForm,
    AuthenticationForm,
    PasswordChangeForm,
)
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import passwords
from accounts.models import User


class SignInForm(AuthenticationForm):
    """A name or an address, and a password; what was wrong is not told."""

    error_messages = {
        "invalid_login": gettext_lazy("Name and password do not belong together."),
        "inactive": gettext_lazy("Name and password do not belong together."),
    }

    def __init__(self, request: HttpRequest | None = None, *args: object, **kwargs: object) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"] = forms.CharField(
            label=_("Username or e-mail"),
            # An address may be longer than a username, which is what the form goes by.
            max_length=254,
            widget=forms.TextInput(
                attrs={"autofocus": True, "autocomplete": "username", "autocapitalize": "none"}
            ),
        )
        self.fields["password"] = forms.CharField(
            label=_("Password"),
            strip=False,
            max_length=passwords.LONGEST_PASSWORD,
            widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        )


class OwnPasswordForm(PasswordChangeForm):
    """Another password for who knows the old one; guessing that is counted."""

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        try:
            passwords.confirm(self.user, old, now=timezone.now())
        except passwords.WrongPassword:
            raise ValidationError(_("This is not your password.")) from None
        return old


class CodeForm(forms.Form):
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


class ProofForm(forms.Form):
    """The user who is signed in shows again who they are: by a code of the second factor, and by
    the password where they have one.
    """

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"] = CodeForm().fields["code"]
        self.fields["code"].label = _("Code of your authenticator, or a recovery code")
        self.fields["code"].widget.attrs.pop("inputmode")
        if user.has_usable_password():
            self.fields["password"] = forms.CharField(
                label=_("Your password"),
                strip=False,
                max_length=passwords.LONGEST_PASSWORD,
                widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
            )


class SetUpForm(ProofForm):
    """The first code of a new authenticator, and the password where there is one."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        code = CodeForm().fields["code"]
        code.label = _("The code that it shows")
        code.widget.attrs.pop("autofocus")
        self.fields["code"] = code


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]
    """Staff set somebody's password, or take it away."""

    def save(self, commit: bool = True) -> User:
        user: User = self.user
        usable = self.cleaned_data.get("set_usable_password", True)
        passwords.change(user, self.cleaned_data["password1"] if usable else None)
        return user
