"""Who a name and a password belong to."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import audit
from accounts.models import User


class UsernameOrEmailBackend(ModelBackend):
    """Sign-in with the username or the e-mail address, upper or lower case."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """The active user these credentials belong to, or None, which is in the audit trail.
        That they came in is written down once they have (signing_in).
        """
        if username is None or password is None or "\0" in username:
            return None
        user = User.objects.called(username)
        if user is None:
            # An unknown name costs the same time as a wrong password.
            User().set_password(password)
        elif user.check_password(password) and self.user_can_authenticate(user):
            return user
        audit.record("sign_in.failed", target=user, name=audit.typed_name(username))
        return None
