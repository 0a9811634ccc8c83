"""The sign-in form."""

from django import forms
from django.contrib.auth.forms import (
    AuthenticationForm,
)
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.passwords import validators


class SignInForm(AuthenticationForm):
    """Username or e-mail address and password. The error does not say which one is wrong."""

    error_messages = {
        "invalid_login": gettext_lazy("Wrong username or password."),
        "inactive": gettext_lazy("Wrong username or password."),
    }

    def __init__(self, request: HttpRequest | None = None, *args: object, **kwargs: object) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"] = forms.CharField(
            label=_("Username or e-mail"),
            # The maximum length of an e-mail address; Django's form uses that of a username.
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
