"""Sign-in for programs, and a user's own audit trail."""

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

USUAL, LONGEST = (
    life // timedelta(seconds=1)
    for life in (tokens.LIFETIMES[tokens.Scope.AUTH], tokens.MAX_LIFETIME)
)
"""Seconds that a token lives."""


class LoginBody(StrictSerializer):
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
        help_text="Of the authenticator, or a recovery code, where there is a second factor.",
    )
    access = serializers.ChoiceField(Token.Access.choices, default=Token.Access.FULL)
    expires_in = serializers.IntegerField(
        min_value=60, max_value=LONGEST, default=USUAL, help_text="Seconds."
    )

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        if ("username" in attrs) == ("email" in attrs):
            raise serializers.ValidationError("Give either username or email.", code="required")
        return attrs


class LoginAnswer(serializers.Serializer[Token]):
    token = serializers.CharField(help_text="Shown once.")
    expires_at = serializers.DateTimeField()


@in_pool(PASSWORDS)
class Login(APIView):
    """Exchange a name and a password for a token."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=LoginBody, responses=LoginAnswer)
    def post(self, request: Request) -> Response:
        body = LoginBody(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        name = given.get("username") or given.get("email", "")
        user = authenticate(request, username=name, password=given["password"])
        if not isinstance(user, User):
            raise AuthenticationFailed("Name and password do not belong together.")
        _ask_for_second_factor(user, given["code"])
        counters = throttling.login_limits(name, client_ip.get_client_ip(request))
        # A sign-in that gets no token has not succeeded.
        with transaction.atomic():
            audit.record("sign_in.succeeded", target=user, by=user)
            token, secret = tokens.issue(
                user,
                scope=tokens.Scope.AUTH,
                now=timezone.now(),
                label=given["label"],
                access=given["access"],
                lifetime=timedelta(seconds=given["expires_in"]),
            )
            update_last_login(User, user)
            throttling.give_back_sign_in(counters)
        return Response({"token": secret.text, "expires_at": token.expires_at})

    def get_authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SecondFactorRequired(AuthenticationFailed):
    """The password is right, and not enough."""

    problem = "second-factor-required"


def _ask_for_second_factor(user: User, code: str) -> None:
    if mfa.is_enabled(user):
        if not code:
            audit.record("second_factor.asked", target=user)
            raise SecondFactorRequired("Send a code of your authenticator, too, as `code`.")
        try:
            mfa.verify_code(user, code, now=timezone.now())
        except mfa.InvalidCode:
            raise SecondFactorRequired("This code is wrong, or it was used already.") from None
    elif mfa.is_required_for(user):
        raise PermissionDenied("Set up your second factor in the browser first.")


class Logout(APIView):
    """End what the request was made with: its token, or its session."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        if isinstance(request.auth, Token):
            tokens.revoke(request.auth)
        else:
            login.logout_and_record(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)
