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

from accounts import addresses, passwords, signup, throttles
from accounts.models import User
from accounts.request_pools import PASSWORDS, in_pool
from accounts.strict import StrictSerializer


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


class OpenView(APIView):
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
class Register(OpenView):
    """Ask to join. The answer is the same whether or not the address is known; a link is mailed."""

    @extend_schema(request=RegisterBody, responses={202: None})
    def post(self, request: Request) -> Response:
        body, now = self.given(request, RegisterBody), timezone.now()
        address = addresses.of(request)
        throttles.take(throttles.of_registration(body["email"], address), now=now)
        signup.register(body["username"], body["email"], body["password"], now=now)
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class VerifyEmail(OpenView):
    """Prove an address with the token that was mailed to it, and the password of the account that
    it is for.
    """

    @extend_schema(request=VerifyBody, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.given(request, VerifyBody)
        signup.verify(
            body["token"],
            username=body["username"],
            password=body["password"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ResendVerification(OpenView):
    """Have the link to prove an address mailed again, if anybody waits for it."""

    @extend_schema(request=AddressBody, responses={202: None})
    def post(self, request: Request) -> Response:
        email = self.given(request, AddressBody)["email"]
        counters = throttles.of_mail(email, addresses.of(request))
        throttles.take(counters, now=timezone.now())
        signup.resend(email)
        return Response(status=status.HTTP_202_ACCEPTED)


class PasswordReset(OpenView):
    """Have a link to choose another password mailed, if anybody has this address."""

    @extend_schema(request=AddressBody, responses={202: None})
    def post(self, request: Request) -> Response:
        email = self.given(request, AddressBody)["email"]
        counters = throttles.of_mail(email, addresses.of(request))
        throttles.take(counters, now=timezone.now())
        passwords.request_reset(email)
        return Response(status=status.HTTP_202_ACCEPTED)


@in_pool(PASSWORDS)
class ConfirmPasswordReset(OpenView):
    """Choose another password with the token that was mailed."""

    @extend_schema(request=NewPasswordBody, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.given(request, NewPasswordBody)
        passwords.reset(body["token"], body["password"], now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


@in_pool(PASSWORDS)
class Join(OpenView):
    """Accept an invitation with the token that was mailed."""

    @extend_schema(request=JoinBody, responses={204: None})
    def post(self, request: Request) -> Response:
        body = self.given(request, JoinBody)
        signup.accept(
            body["token"],
            username=body["username"],
            password=body["password"],
            now=timezone.now(),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class Invitations(OpenView):
    """Staff invite somebody; a former invitation of this address is replaced."""

    authentication_classes = APIView.authentication_classes  # type: ignore[assignment]
    permission_classes = APIView.permission_classes  # type: ignore[assignment]

    @extend_schema(request=AddressBody, responses={202: None})
    def post(self, request: Request) -> Response:
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        email, now = self.given(request, AddressBody)["email"], timezone.now()
        throttles.take(throttles.of_invitation(request.user.pk), now=now)
        signup.invite(request.user, email, now=now)
        return Response(status=status.HTTP_202_ACCEPTED)
