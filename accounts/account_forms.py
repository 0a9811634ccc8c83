"""What people type to join, to get back in, and about themselves."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts import emails, passwords
from accounts.models import Registration, User, time_zones


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
        max_length=passwords.LONGEST_PASSWORD,
        help_text=_("At least 12 characters; a few words in a row are good."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


def current_password_field() -> forms.CharField:
    return forms.CharField(
        label=_("Your password"),
        strip=False,
        max_length=passwords.LONGEST_PASSWORD,
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
        if emails.is_proven(email):
            raise forms.ValidationError(_("This address is a user's already."))
        return email


class AddressForm(forms.Form):
    """Where a mail should go."""

    email = email_field()


class NewPasswordForm(forms.Form):
    """A password in place of a forgotten one."""

    password = new_password_field()


class ChangeAddressForm(forms.Form):
    """A new address, from somebody who knows the password."""

    email = email_field()
    password = current_password_field()


class ProfileForm(forms.Form):
    """A name, the zone times are shown in, and the language."""

    username = username_field()
    time_zone = forms.ChoiceField(label=_("Time zone"))
    language = forms.ChoiceField(
        label=_("Language"),
        choices=[("", _("As the browser asks")), *settings.LANGUAGES],
        required=False,
    )

    def __init__(self, data: Any = None, *, user: User) -> None:
        initial = {name: getattr(user, name) for name in self.base_fields}
        super().__init__(data, initial=initial)
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
        field.choices = [(name, name.replace("_", " ")) for name in sorted(time_zones())]
