"""The authentication backend of pages, API and admin."""

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
    """Sign-in with username or e-mail address, ignoring case."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user with these credentials, or None if sign-in is not possible.

        Failures are audited here. Successful sign-ins are audited in login.py, which also refunds
        the attempt. An e-mail address must be verified, because several users may have the same
        unverified one. Raises RateLimitExceeded after too many attempts.
        """
        if username is None or password is None or "\0" in username:
            return None
        now = timezone.now()
        if request is not None:
            throttling.consume(
                throttling.login_limits(username, client_ip.get_client_ip(request)), now=now
            )
        user = User.objects.get_by_login(username)
        if user is not None and "@" in username and user.email_verified_at is None:
            user = None
        # For an unknown name, hash the password too, so that the response takes the same time.
        correct = passwords.is_correct(user or User(), password, now=now)
        if user is not None and correct and self.user_can_authenticate(user):
            return user
        # An unknown name may be a password that was typed into the wrong field.
        name = username if user else audit.loggable_username(username)
        audit.record("sign_in.failed", target=user, name=name)
        return None

    def user_can_authenticate(self, user: Any) -> bool:
        """Reject inactive users, and unverified users unless ALLOW_UNVERIFIED_LOGIN."""
        return super().user_can_authenticate(user) and (
            settings.ALLOW_UNVERIFIED_LOGIN or user.email_verified_at is not None
        )
