"""What people type to join, to get back in, and about themselves."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.email import verification
from accounts.fields import email_field, new_password_field, username_field
from accounts.models import Registration
from accounts.passwords import validators


def current_password_field() -> forms.CharField:
    return forms.CharField(
        label=_("Your password"),
        strip=False,
        max_length=validators.MAX_PASSWORD_LENGTH,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class SignUpForm(forms.Form):
    """Somebody who wants to join."""

    username = username_field()
    email = email_field()
    password = new_password_field()


class JoinForm(forms.Form):
    """Somebody who was invited."""

    username = username_field()
    password = new_password_field()


class ConfirmForm(forms.Form):
    """Somebody who has opened the link that proves their address: their password, and another
    name if it was taken meanwhile.
    """

    username = username_field()
    password = current_password_field()

    def __init__(self, *args: Any, asks_name: bool = False, asks_password: bool = True) -> None:
        super().__init__(*args)
        if not asks_name:
            del self.fields["username"]
        if not asks_password:
            del self.fields["password"]


class InvitationForm(forms.ModelForm[Registration]):
    """Whom staff invite."""

    class Meta:
        model = Registration
        fields = ("email",)

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if verification.email_is_verified(email):
            raise forms.ValidationError(_("This address is a user's already."))
        return email


class AddressForm(forms.Form):
    """Where a mail should go."""

    email = email_field()
