"""Password forms."""

from django import forms
from django.contrib.auth.forms import AdminPasswordChangeForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.fields import new_password_field
from accounts.models import User
from accounts.passwords import services as passwords


class NewPasswordForm(forms.Form):
    """The new password after a reset link."""

    password = new_password_field()


class ChangePasswordForm(PasswordChangeForm):
    """Change of the password. Attempts with a wrong old password are rate-limited."""

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        try:
            passwords.check_current_password(self.user, old, now=timezone.now())
        except passwords.WrongPassword:
            raise ValidationError(_("Wrong password.")) from None
        return old


class AdminSetPasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]
    """Staff set or remove the password of a user."""

    def save(self, commit: bool = True) -> User:
        user: User = self.user
        usable = self.cleaned_data.get("set_usable_password", True)
        passwords.set_password(user, self.cleaned_data["password1"] if usable else None)
        return user
