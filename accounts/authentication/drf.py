"""Who is speaking to the API: a user's token."""

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.authentication import SessionScheme as FrameworkSessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.authentication import SessionAuthentication as FrameworkSessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.audit import log as audit
from accounts.mfa import services as mfa
from accounts.models import Token, User
from accounts.tokens import services as tokens

if TYPE_CHECKING:
    # The framework's views import this module while they are being made.
    from rest_framework.views import APIView


SECOND_FACTOR_PASSED = "second_factor_passed"
"""In the session of somebody who has shown the second factor."""
SET_IT_UP = "Set up your second factor first."


def get_bearer_token(request: Request, prefix: str) -> str | None:
    """The secret after `Authorization: Bearer`, when it is of the kind with this prefix."""
    kind, _, secret = get_authorization_header(request).decode("latin-1").partition(" ")
    if kind.lower() != "bearer":
        return None
    secret = secret.strip()
    return secret if secret.startswith(f"{prefix}_") else None


class UserTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer tsu_…`"""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        secret = get_bearer_token(request, tokens.PREFIXES[tokens.Scope.AUTH])
        if secret is None:
            return None
        now = timezone.now()
        try:
            token = tokens.get_active(secret, scope=tokens.Scope.AUTH, now=now)
        except tokens.InvalidToken:
            raise AuthenticationFailed("This token is unknown, expired or revoked.") from None
        if token.access == Token.Access.READ and request.method not in SAFE_METHODS:
            # Here, where every view of the API comes by, whatever permissions it asks for itself.
            raise PermissionDenied("This token may only read.")
        if mfa.is_required_for(token.user) and not mfa.is_enabled(token.user):
            # Tokens of before it was set up end then, so those of somebody who has it are new.
            raise PermissionDenied(SET_IT_UP)
        tokens.record_use(token, now=now)
        audit.set_actor(audit.Means.TOKEN, user=token.user, id=token.pk, name=str(token))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def requires_mfa(request: HttpRequest) -> bool:
    """Whether this session may do nothing until its user has shown or set up a second factor."""
    user = request.user
    return (
        isinstance(user, User)
        and mfa.is_required_for(user)
        and not request.session.get(SECOND_FACTOR_PASSED)
    )


def lacks_code(request: HttpRequest) -> bool:
    """Whether the user has a second factor and has not shown it in this session."""
    user = request.user
    passed = request.session.get(SECOND_FACTOR_PASSED)
    return isinstance(user, User) and not passed and mfa.is_enabled(user)


class CodeRequired(PermissionDenied):
    """The user has a second factor, and this request has not shown it."""

    problem = "second-factor-required"


def require_code(request: Request) -> None:
    """Raise CodeRequired for a browser that lacks_code. An API token was made with a code."""
    if not isinstance(request.auth, Token) and lacks_code(request._request):
        raise CodeRequired("Sign in again, with a code of your authenticator.")


class SessionAuthentication(FrameworkSessionAuthentication):
    """The session of our own pages, with CSRF."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        found: tuple[Any, None] | None = super().authenticate(request)
        if found and requires_mfa(request._request):
            raise PermissionDenied(SET_IT_UP)
        return found


class UserTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema tells of it."""

    target_class = UserTokenAuthentication
    name = "userToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A user's token, `tsu_…`."}


class SessionScheme(FrameworkSessionScheme):  # type: ignore[no-untyped-call]
    """How the schema tells of the session."""

    target_class = SessionAuthentication  # type: ignore[assignment]
    priority = 0


class IsAuthenticatedUser(BasePermission):
    """A signed-in person, by token or by session; not a device."""

    message = "This needs a user's token."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.user, User)
