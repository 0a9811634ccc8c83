"""API of the user's own account."""

from typing import Any

from django.contrib.auth import update_session_auth_hash
from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import throttling
from accounts.email import verification
from accounts.models import Token, User
from accounts.passwords import services as passwords
from accounts.profile import services as profile
from common import client_ip
from common.api.serializers import StrictSerializer
from common.request_pools import PASSWORDS, in_pool


class UserSerializer(serializers.ModelSerializer[User]):
    """The user's own account."""

    # Not the model's validator: `\w` is Unicode in Python, but ASCII in JSON Schema.
    username = serializers.CharField(max_length=150)
    pending_email = serializers.CharField(
        help_text="The new e-mail address until it is verified, or empty."
    )

    class Meta:
        model = User
        fields = (
            "id",
            "username",
            "email",
            "email_verified_at",
            "pending_email",
            "time_zone",
            "language",
            "created_at",
        )
        extra_kwargs = {
            "language": {
                "help_text": "Language of pages and mails. Empty: the language of the browser."
            },
        }


class UserUpdateSerializer(StrictSerializer):
    username = serializers.CharField(max_length=150, required=False)
    time_zone = serializers.CharField(max_length=64, required=False)
    language = serializers.CharField(max_length=16, required=False, allow_blank=True)
    email = serializers.EmailField(max_length=254, required=False)
    password = serializers.CharField(
        max_length=1024,
        trim_whitespace=False,
        required=False,
        help_text="The current password. Required to change the e-mail address.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "email" in attrs and "password" not in attrs:
            raise serializers.ValidationError(
                {"password": ["A new e-mail address requires the password."]}, code="required"
            )
        return attrs


class ChangePasswordSerializer(StrictSerializer):
    current = serializers.CharField(max_length=1024, trim_whitespace=False)
    new = serializers.CharField(max_length=1024, trim_whitespace=False)


@in_pool(PASSWORDS)
class CurrentUserView(APIView):
    """The user of this request."""

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticatedUser has checked it
        return Response(UserSerializer(request.user).data)

    @extend_schema(request=UserUpdateSerializer, responses=UserSerializer)
    def patch(self, request: Request) -> Response:
        """Change the account. A new e-mail address is used after its mailed link is confirmed."""
        assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticatedUser has checked it
        body = UserUpdateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data, user, now = body.validated_data, request.user, timezone.now()
        if "email" in data:
            passwords.check_current_password(user, data["password"], now=now)
            counters = throttling.mail_limits(data["email"], client_ip.get_client_ip(request))
            throttling.consume(counters, now=now)
        changed = {name: data[name] for name in profile.EDITABLE_FIELDS if name in data}
        # The counters above are not part of the transaction: rejected requests are counted, too.
        with transaction.atomic():
            if "email" in data:
                verification.request_email_change(user, data["email"])
            profile.update_profile(user, **changed)
        return Response(UserSerializer(user).data)


class ResendLinkView(APIView):
    """Mail the verification link of the unverified e-mail address again."""

    @extend_schema(request=None, responses={202: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticatedUser has checked it
        verification.resend_own_link(
            request.user, ip_address=client_ip.get_client_ip(request), now=timezone.now()
        )
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class ChangePasswordView(APIView):
    """Change the password. All other sessions, tokens and mailed links end, and a pending change of
    e-mail address is cancelled. Device tokens stay valid.
    """

    @extend_schema(request=ChangePasswordSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticatedUser has checked it
        body = ChangePasswordSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data, user = body.validated_data, request.user
        passwords.check_current_password(user, data["current"], now=timezone.now())
        passwords.validate_password(user, data["new"], field="new")
        token = request.auth if isinstance(request.auth, Token) else None
        passwords.set_password(user, data["new"], keep=token)
        if token is None:
            update_session_auth_hash(request._request, user)
        return Response(status=status.HTTP_204_NO_CONTENT)
