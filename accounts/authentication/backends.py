"""Who a name and a password belong to: for the pages, the API and the admin alike."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from django.utils import timezone

from accounts import throttling
from accounts.audit import log as audit
from accounts.models import User
from accounts.passwords import services as passwords
from common import client_ip


class UsernameOrEmailBackend(ModelBackend):
    """Sign-in with the username or the e-mail address, upper or lower case."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """The user these credentials belong to, if they may sign in, or None, which is in the audit
        trail. That they came in is written down once they have (signing_in), and then the try is
        given back, too. An address signs in once it is proven: several users may claim it before.

        Raises TooManyTries when this was tried too often from where the request comes from.
        """
        if username is None or password is None or "\0" in username:
            return None
        now = timezone.now()
        if request is not None:
            throttling.consume(
                throttling.login_limits(username, client_ip.get_client_ip(request)), now=now
            )
        user = User.objects.called(username)
        if user is not None and "@" in username and user.email_verified_at is None:
            user = None
        # An unknown name costs the same time as a wrong password.
        right = passwords.is_right(user or User(), password, now=now)
        if user is not None and right and self.user_can_authenticate(user):
            return user
        # What is no account's name may be a password in the wrong field.
        name = username if user else audit.loggable_username(username)
        audit.record("sign_in.failed", target=user, name=name)
        return None

    def user_can_authenticate(self, user: Any) -> bool:
        """Whoever is switched off may not, nor may, where a setting says so, whose address is
        not proven.
        """
        return super().user_can_authenticate(user) and (
            settings.ALLOW_UNVERIFIED_LOGIN or user.email_verified_at is not None
        )
