"""Types of authenticated requests."""

from typing import Any

from django.http import HttpRequest

from accounts.models import User


class AuthenticatedRequest(HttpRequest):
    """A request after `login_required`."""

    user: User


def get_api_user(request: Any) -> User:
    """Return the user of an API request that requires a user."""
    assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticatedUser has checked it
    return request.user
