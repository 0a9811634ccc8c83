"""Joining, proving an address and getting a password back, for programs.

What is answered to an address never depends on whether somebody has it.
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
from accounts.registration import services as registrations
from common import client_ip
from common.api.serializers import StrictSerializer
from common.request_pools import PASSWORDS, in_pool


class AddressBody(StrictSerializer):
    email = serializers.EmailField(max_length=254)


class RegisterBody(AddressBody):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class TokenBody(StrictSerializer):
    token = serializers.CharField(max_length=100)


class VerifyBody(TokenBody):
    password = serializers.CharField(
        max_length=1024,
        trim_whitespace=False,
        required=False,
        default="",
        help_text="The one registered with, or of the account that the address is for.",
    )
    username = serializers.CharField(
        max_length=150,
        required=False,
        default="",
        help_text="Another one, when the one registered with is taken meanwhile.",
    )


class NewPasswordBody(TokenBody):
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class JoinBody(NewPasswordBody):
    username = serializers.CharField(max_length=150)


class PublicView(APIView):
    """Whoever calls this shows nothing but what is in the body."""

    authentication_classes = ()
    permission_classes: tuple[type[BasePermission], ...] = ()

    def given(self, request: Request, kind: type[StrictSerializer]) -> dict[str, Any]:
        """The body, checked."""
        body = kind(data=request.data)
        body.is_valid(raise_exception=True)
        given: dict[str, Any] = body.validated_data
        return given


@in_pool(PASSWORDS)
class RegisterView(PublicView):
    """Ask to join. The answer is the same whether or not the address is known; a link is mailed."""

    @extend_schema(request=RegisterBody, responses={202: None})
    def post(self, request: Request) -> Response:
        body, now = self.given(request, RegisterBody), timezone.now()
        address = client_ip.get_client_ip(request)
        throttling.consume(throttling.registration_limits(body["email"], address), now=now)
        registrations.register(body["username"], body["email"], body["password"], now=now)
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class VerifyEmail(PublicView):
    """Prove an address with the token that was mailed to it, and the password of the account that
    it is for.
    """

    @extend_schema(request=VerifyBody, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.given(request, VerifyBody)
        registrations.verify_email_or_complete(
            body["token"],
            username=body["username"],
            password=body["password"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ResendVerification(PublicView):
    """Have the link to prove an address mailed again, if anybody waits for it."""

    @extend_schema(request=AddressBody, responses={202: None})
    def post(self, request: Request) -> Response:
        email = self.given(request, AddressBody)["email"]
        counters = throttling.mail_limits(email, client_ip.get_client_ip(request))
        throttling.consume(counters, now=timezone.now())
        registrations.resend_links(email)
        return Response(status=status.HTTP_202_ACCEPTED)


class PasswordReset(PublicView):
    """Have a link to choose another password mailed, if anybody has this address."""

    @extend_schema(request=AddressBody, responses={202: None})
    def post(self, request: Request) -> Response:
        email = self.given(request, AddressBody)["email"]
        counters = throttling.mail_limits(email, client_ip.get_client_ip(request))
        throttling.consume(counters, now=timezone.now())
        passwords.request_reset(email)
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class ConfirmPasswordReset(PublicView):
    """Choose another password with the token that was mailed."""

    @extend_schema(request=NewPasswordBody, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.given(request, NewPasswordBody)
        passwords.reset_with_token(body["token"], body["password"], now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


@in_pool(PASSWORDS)
class AcceptInvitationView(PublicView):
    """Accept an invitation with the token that was mailed."""

    @extend_schema(request=JoinBody, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.given(request, JoinBody)
        registrations.accept_invitation(
            body["token"],
            username=body["username"],
            password=body["password"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationListView(PublicView):
    """Staff invite somebody; a former invitation of this address is replaced."""

    authentication_classes = APIView.authentication_classes  # type: ignore[assignment]
    permission_classes = APIView.permission_classes  # type: ignore[assignment]

    @extend_schema(request=AddressBody, responses={202: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        email, now = self.given(request, AddressBody)["email"], timezone.now()
        throttling.consume(throttling.invitation_limits(request.user.pk), now=now)
        registrations.invite(request.user, email, now=now)
        return Response(status=status.HTTP_202_ACCEPTED)
