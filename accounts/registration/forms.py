"""Forms for sign-up, invitations and mailed links."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.email import verification
from accounts.fields import (
    current_password_field,
    email_field,
    new_password_field,
    username_field,
)
from accounts.models import Registration


class SignUpForm(forms.Form):
    """Sign-up."""

    username = username_field()
    email = email_field()
    password = new_password_field()


class AcceptInvitationForm(forms.Form):
    """Acceptance of an invitation."""

    username = username_field()
    password = new_password_field()


class ConfirmForm(forms.Form):
    """Confirmation of a verification link: the password, and a new username if it is taken."""

    username = username_field()
    password = current_password_field()

    def __init__(self, *args: Any, with_username: bool = False, with_password: bool = True) -> None:
        super().__init__(*args)
        if not with_username:
            del self.fields["username"]
        if not with_password:
            del self.fields["password"]


class InvitationForm(forms.ModelForm[Registration]):
    """Invitation by staff."""

    class Meta:
        model = Registration
        fields = ("email",)

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if verification.email_is_verified(email):
            raise forms.ValidationError(_("This e-mail address already belongs to a user."))
        return email


class EmailForm(forms.Form):
    """The e-mail address that a link is mailed to."""

    email = email_field()
