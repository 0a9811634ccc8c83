"""The staff user of an admin request."""

from django.http import HttpRequest

from accounts.models import User


def get_staff_user(request: HttpRequest) -> User:
    """Return the user of an admin request."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin requires a signed-in user
    return request.user
