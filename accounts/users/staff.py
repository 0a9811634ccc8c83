"""The member of staff who uses the admin."""

from django.http import HttpRequest

from accounts.models import User


def get_staff_user(request: HttpRequest) -> User:
    """Who is signed in to the admin."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin lets nobody else in
    return request.user
