"""Types of requests."""

from django.http import HttpRequest

from accounts.models import User


class AuthenticatedRequest(HttpRequest):
    """A request that `login_required` has let in."""

    user: User
