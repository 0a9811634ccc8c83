"""What people type about themselves."""

from django import forms
from django.contrib.auth.forms import (
    AuthenticationForm,
)
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.passwords import validators


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
            max_length=validators.MAX_PASSWORD_LENGTH,
            widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        )
