"""Form fields that are used by several forms."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.passwords import validators


def username_field() -> forms.CharField:
    return forms.CharField(
        label=_("Username"),
        max_length=150,
        help_text=_("Letters, digits and . + - _"),
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )


def email_field() -> forms.EmailField:
    return forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


def new_password_field() -> forms.CharField:
    return forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=validators.MAX_PASSWORD_LENGTH,
        help_text=_("At least 12 characters; a few random words work well."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


def current_password_field() -> forms.CharField:
    return forms.CharField(
        label=_("Your password"),
        strip=False,
        max_length=validators.MAX_PASSWORD_LENGTH,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
