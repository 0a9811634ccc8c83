"""What people type about themselves."""

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest

LONGEST_PASSWORD = 1024
"""Characters; a longer one only costs time to hash."""


class SignInForm(AuthenticationForm):
    """A name or an address, and a password; what was wrong is not told."""

    error_messages = {
        "invalid_login": "Name and password do not belong together.",
        "inactive": "Name and password do not belong together.",
    }

    def __init__(self, request: HttpRequest | None = None, *args: object, **kwargs: object) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"] = forms.CharField(
            label="Username or e-mail",
            # An address may be longer than a username, which is what the form goes by.
            max_length=254,
            widget=forms.TextInput(
                attrs={"autofocus": True, "autocomplete": "username", "autocapitalize": "none"}
            ),
        )
        self.fields["password"] = forms.CharField(
            strip=False,
            max_length=LONGEST_PASSWORD,
            widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        )
