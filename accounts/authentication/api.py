"""API of sign-in and sign-out."""

from datetime import timedelta

from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import throttling
from accounts.audit import log as audit
from accounts.authentication import login
from accounts.mfa import services as mfa
from accounts.models import Token, User
from accounts.tokens import services as tokens
from common import client_ip
from common.api.serializers import StrictSerializer
from common.request_pools import PASSWORDS, in_pool


class LoginSerializer(StrictSerializer):
    username = serializers.CharField(max_length=254, required=False)
    email = serializers.CharField(max_length=254, required=False)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, default=""
    )
    code = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        help_text="A code of the authenticator or a recovery code, with two-factor authentication.",
    )
    access = serializers.ChoiceField(Token.Access.choices, default=Token.Access.FULL)
    expires_in = serializers.IntegerField(
        min_value=60,
        max_value=tokens.MAX_TTL_SECONDS,
        default=tokens.DEFAULT_TTL_SECONDS,
        help_text="Seconds.",
    )

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        if ("username" in attrs) == ("email" in attrs):
            raise serializers.ValidationError("Give either username or email.", code="required")
        return attrs


class LoginResponseSerializer(serializers.Serializer[Token]):
    token = serializers.CharField(help_text="Shown once.")
    expires_at = serializers.DateTimeField()


@in_pool(PASSWORDS)
class LoginView(APIView):
    """Exchange username or e-mail address and password for a token."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=LoginSerializer, responses=LoginResponseSerializer)
    def post(self, request: Request) -> Response:
        body = LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        name = data.get("username") or data.get("email", "")
        user = authenticate(request, username=name, password=data["password"])
        if not isinstance(user, User):
            raise AuthenticationFailed("Wrong username or password.")
        _check_mfa(user, data["code"])
        counters = throttling.login_limits(name, client_ip.get_client_ip(request))
        # If no token is issued, the sign-in has not succeeded.
        with transaction.atomic():
            audit.record("sign_in.succeeded", target=user, actor=user)
            token, secret = tokens.issue(
                user,
                scope=tokens.Scope.AUTH,
                now=timezone.now(),
                label=data["label"],
                access=data["access"],
                lifetime=timedelta(seconds=data["expires_in"]),
            )
            update_last_login(User, user)
            throttling.refund_login(counters)
        return Response({"token": secret.text, "expires_at": token.expires_at})

    def get_authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SecondFactorRequired(AuthenticationFailed):
    """The password is correct, but a code is required."""

    problem = "second-factor-required"


def _check_mfa(user: User, code: str) -> None:
    if mfa.is_enabled(user):
        if not code:
            audit.record("second_factor.asked", target=user)
            raise SecondFactorRequired("Send a code of your authenticator as `code`.")
        try:
            mfa.verify_code(user, code, now=timezone.now())
        except mfa.InvalidCode:
            raise SecondFactorRequired("The code is wrong or was used already.") from None
    elif mfa.is_required_for(user):
        raise PermissionDenied("Set up two-factor authentication in the browser first.")


class LogoutView(APIView):
    """Revoke the token, or end the session, of this request."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        if isinstance(request.auth, Token):
            tokens.revoke(request.auth)
        else:
            login.logout_and_record(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)
