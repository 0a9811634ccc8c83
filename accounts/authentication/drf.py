"""DRF authentication of users by token or session, and permissions."""

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
    # At runtime this would be a circular import: DRF's views import this module.
    from rest_framework.views import APIView


SECOND_FACTOR_PASSED = "second_factor_passed"
"""Session key: set after a correct code."""
SETUP_REQUIRED = "Set up two-factor authentication first."


def get_bearer_token(request: Request, prefix: str) -> str | None:
    """Return the token of `Authorization: Bearer`, or None if it does not have this prefix."""
    scheme, _, secret = get_authorization_header(request).decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
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
            # Checked here, because this runs for every view, independent of its permission classes.
            raise PermissionDenied("This token is read-only.")
        if mfa.is_required_for(token.user) and not mfa.is_enabled(token.user):
            # No need to check the code of a token: the setup of MFA revokes all older tokens.
            raise PermissionDenied(SETUP_REQUIRED)
        tokens.record_use(token, now=now)
        audit.set_actor(audit.Means.TOKEN, user=token.user, id=token.pk, name=str(token))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def requires_mfa(request: HttpRequest) -> bool:
    """Return whether this session is blocked until its user has set up MFA or given a code."""
    user = request.user
    return (
        isinstance(user, User)
        and mfa.is_required_for(user)
        and not request.session.get(SECOND_FACTOR_PASSED)
    )


def lacks_code(request: HttpRequest) -> bool:
    """Return whether the user has MFA, but has not given a code in this session."""
    user = request.user
    passed = request.session.get(SECOND_FACTOR_PASSED)
    return isinstance(user, User) and not passed and mfa.is_enabled(user)


class CodeRequired(PermissionDenied):
    """The user has MFA, and the request has no code."""

    problem = "second-factor-required"


def require_code(request: Request) -> None:
    """Raise CodeRequired for a session without a code. API tokens were created with a code."""
    if not isinstance(request.auth, Token) and lacks_code(request._request):
        raise CodeRequired("Sign in again with a code of your authenticator.")


class SessionAuthentication(FrameworkSessionAuthentication):
    """Session authentication for the pages of the site, with CSRF protection."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        result: tuple[Any, None] | None = super().authenticate(request)
        if result and requires_mfa(request._request):
            raise PermissionDenied(SETUP_REQUIRED)
        return result


class UserTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """OpenAPI description of user tokens."""

    target_class = UserTokenAuthentication
    name = "userToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A user's token, `tsu_…`."}


class SessionScheme(FrameworkSessionScheme):  # type: ignore[no-untyped-call]
    """OpenAPI description of the session cookie."""

    target_class = SessionAuthentication  # type: ignore[assignment]
    priority = 0


class IsAuthenticatedUser(BasePermission):
    """Allow users, by token or session; reject devices."""

    message = "This endpoint requires a user token."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.user, User)
