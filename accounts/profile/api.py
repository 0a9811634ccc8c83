"""Oneself, for programs."""

from typing import Any

from django.contrib.auth import update_session_auth_hash
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
    """What a user sees of themselves."""

    # Not the model's: its pattern means the letters of all scripts, and in a schema those of ASCII.
    username = serializers.CharField(max_length=150)
    pending_email = serializers.CharField(
        help_text="Will be the address once it is proven; or empty."
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
            "language": {"help_text": "Of pages and mails. Empty: as the browser asks."},
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
        help_text="The current one; another address needs it.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "email" in attrs and "password" not in attrs:
            raise serializers.ValidationError(
                {"password": ["Another address needs the password."]}, code="required"
            )
        return attrs


class ChangePasswordSerializer(StrictSerializer):
    current = serializers.CharField(max_length=1024, trim_whitespace=False)
    new = serializers.CharField(max_length=1024, trim_whitespace=False)


@in_pool(PASSWORDS)
class CurrentUserView(APIView):
    """The user who is speaking."""

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        return Response(UserSerializer(request.user).data)

    @extend_schema(request=UserUpdateSerializer, responses=UserSerializer)
    def patch(self, request: Request) -> Response:
        """A new address holds once the link that is mailed to it was opened."""
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        body = UserUpdateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given, user, now = body.validated_data, request.user, timezone.now()
        if "email" in given:
            passwords.check_current_password(user, given["password"], now=now)
            counters = throttling.mail_limits(given["email"], client_ip.get_client_ip(request))
            throttling.consume(counters, now=now)
            verification.request_email_change(user, given["email"])
        changed = {name: given[name] for name in profile.EDITABLE_FIELDS if name in given}
        profile.update_profile(user, **changed)
        return Response(UserSerializer(user).data)


class ResendLink(APIView):
    """Mail the link to the address that the user still has to prove once more."""

    @extend_schema(request=None, responses={202: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        verification.resend_own(
            request.user, address=client_ip.get_client_ip(request), now=timezone.now()
        )
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class ChangePassword(APIView):
    """Choose another password. All other sessions and tokens end, and so do mailed links and a
    pending change of address; devices keep their tokens.
    """

    @extend_schema(request=ChangePasswordSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        body = ChangePasswordSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given, user = body.validated_data, request.user
        passwords.check_current_password(user, given["current"], now=timezone.now())
        passwords.validate_password(user, given["new"], field="new")
        shown = request.auth if isinstance(request.auth, Token) else None
        passwords.set_password(user, given["new"], keep=shown)
        if shown is None:
            update_session_auth_hash(request._request, user)
        return Response(status=status.HTTP_204_NO_CONTENT)
