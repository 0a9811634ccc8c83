"""API of sign-up, e-mail verification, password reset and invitations.

Responses never reveal whether an e-mail address is known.
"""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import throttling
from accounts.models import User
from accounts.passwords import services as passwords
from accounts.registration import invitations
from accounts.registration import services as registrations
from common import client_ip
from common.api.serializers import StrictSerializer
from common.request_pools import PASSWORDS, in_pool


class EmailSerializer(StrictSerializer):
    email = serializers.EmailField(max_length=254)


class RegisterSerializer(EmailSerializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class MailedTokenSerializer(StrictSerializer):
    token = serializers.CharField(max_length=100)


class VerifyEmailSerializer(MailedTokenSerializer):
    password = serializers.CharField(
        max_length=1024,
        trim_whitespace=False,
        required=False,
        default="",
        help_text="The password of the registration or of the account.",
    )
    username = serializers.CharField(
        max_length=150,
        required=False,
        default="",
        help_text="A new username, if the registered one is taken meanwhile.",
    )


class NewPasswordSerializer(MailedTokenSerializer):
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class AcceptInvitationSerializer(NewPasswordSerializer):
    username = serializers.CharField(max_length=150)


class PublicView(APIView):
    """Base class of endpoints without authentication."""

    authentication_classes = ()
    permission_classes: tuple[type[BasePermission], ...] = ()

    def validated_body(
        self, request: Request, serializer_class: type[StrictSerializer]
    ) -> dict[str, Any]:
        """Return the validated request body."""
        serializer = serializer_class(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data


@in_pool(PASSWORDS)
class RegisterView(PublicView):
    """Sign up. A link is mailed. The response does not reveal whether the address is known."""

    @extend_schema(request=RegisterSerializer, responses={202: None})
    def post(self, request: Request) -> Response:
        body, now = self.validated_body(request, RegisterSerializer), timezone.now()
        ip_address = client_ip.get_client_ip(request)
        throttling.consume(throttling.registration_limits(body["email"], ip_address), now=now)
        registrations.register(body["username"], body["email"], body["password"], now=now)
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class VerifyEmailView(PublicView):
    """Verify an e-mail address with the mailed token and the password of the account."""

    @extend_schema(request=VerifyEmailSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.validated_body(request, VerifyEmailSerializer)
        registrations.verify_email_or_complete(
            body["token"],
            username=body["username"],
            password=body["password"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ResendVerificationView(PublicView):
    """Mail the verification link again, if a verification is pending."""

    @extend_schema(request=EmailSerializer, responses={202: None})
    def post(self, request: Request) -> Response:
        email = self.validated_body(request, EmailSerializer)["email"]
        counters = throttling.mail_limits(email, client_ip.get_client_ip(request))
        throttling.consume(counters, now=timezone.now())
        registrations.resend_links(email)
        return Response(status=status.HTTP_202_ACCEPTED)


class PasswordResetView(PublicView):
    """Mail a link to set a new password, if a user has this e-mail address."""

    @extend_schema(request=EmailSerializer, responses={202: None})
    def post(self, request: Request) -> Response:
        email = self.validated_body(request, EmailSerializer)["email"]
        counters = throttling.mail_limits(email, client_ip.get_client_ip(request))
        throttling.consume(counters, now=timezone.now())
        passwords.request_reset(email)
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class PasswordResetConfirmView(PublicView):
    """Set a new password with the mailed token."""

    @extend_schema(request=NewPasswordSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.validated_body(request, NewPasswordSerializer)
        passwords.reset_with_token(body["token"], body["password"], now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


@in_pool(PASSWORDS)
class AcceptInvitationView(PublicView):
    """Accept an invitation with the mailed token."""

    @extend_schema(request=AcceptInvitationSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.validated_body(request, AcceptInvitationSerializer)
        invitations.accept_invitation(
            body["token"],
            username=body["username"],
            password=body["password"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationListView(PublicView):
    """Invite a new user (staff only). It replaces an earlier invitation of this e-mail address."""

    authentication_classes = APIView.authentication_classes  # type: ignore[assignment]
    permission_classes = APIView.permission_classes  # type: ignore[assignment]

    @extend_schema(request=EmailSerializer, responses={202: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticatedUser has checked it
        email, now = self.validated_body(request, EmailSerializer)["email"], timezone.now()
        throttling.consume(throttling.invitation_limits(request.user.pk), now=now)
        invitations.invite(request.user, email, now=now)
        return Response(status=status.HTTP_202_ACCEPTED)
