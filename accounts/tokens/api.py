"""A user's tokens and sessions, for programs."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication.api import LONGEST, USUAL
from accounts.authentication.drf import CodeRequired, lacks_code
from accounts.mfa import services as mfa
from accounts.models import Token, User
from accounts.tokens import services as tokens
from common.api.serializers import StrictSerializer


class UserTokenBody(StrictSerializer):
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, default=""
    )
    access = serializers.ChoiceField(Token.Access.choices, default=Token.Access.FULL)
    expires_in = serializers.IntegerField(
        min_value=60,
        max_value=LONGEST,
        default=USUAL,
        help_text="Seconds. A token that is made with a token expires with it at the latest.",
    )
    code = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        help_text="Of the authenticator, or a recovery code, where there is a second factor.",
    )


class UserTokenAnswer(serializers.ModelSerializer[Token]):
    class Meta:
        model = Token
        fields = (
            "id",
            "parent",
            "label",
            "prefix",
            "scope",
            "access",
            "revoked",
            "expires_at",
            "last_used_at",
            "created_at",
        )


class NewUserTokenAnswer(UserTokenAnswer):
    token = serializers.CharField(help_text="Shown once.")

    class Meta(UserTokenAnswer.Meta):
        fields = (*UserTokenAnswer.Meta.fields, "token")  # type: ignore[assignment]


def _ask_for_code(request: Request, code: str, *, now: datetime) -> None:
    """Raise CodeRequired unless a code is given where the user has a second factor, or was given
    when this browser signed in. Raises TooManyCodes.
    """
    by_token = isinstance(request.auth, Token)
    if not (mfa.is_enabled(_user(request)) if by_token else lacks_code(request._request)):
        return
    if not code:
        raise CodeRequired("Send a code of your authenticator, too, as `code`.")
    try:
        mfa.verify_code(_user(request), code, now=now)
    except mfa.InvalidCode:
        raise CodeRequired("This code is wrong, or it was used already.") from None


class TokenList(GenericAPIView[Token]):
    """The user's tokens for the API; hashes are never shown."""

    serializer_class = UserTokenAnswer

    def get_queryset(self) -> QuerySet[Token]:
        if isinstance(self.request.user, AnonymousUser):
            return Token.objects.none()
        return Token.objects.filter(user=self.request.user, scope=tokens.Scope.AUTH)

    @extend_schema(operation_id="tokens_list")
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=UserTokenBody, responses={201: NewUserTokenAnswer})
    def post(self, request: Request) -> Response:
        """Create a token. One that is created with another token ends with that one, and is
        revoked with it. Where there is a second factor, a `code` is needed.
        """
        body = UserTokenBody(data=request.data)
        body.is_valid(raise_exception=True)
        given, now = dict(body.validated_data), timezone.now()
        parent = request.auth if isinstance(request.auth, Token) else None
        _ask_for_code(request, given.pop("code"), now=now)
        token, secret = tokens.issue(
            _user(request),
            scope=tokens.Scope.AUTH,
            now=now,
            lifetime=timedelta(seconds=given.pop("expires_in")),
            parent=parent,
            **given,
        )
        answer = {**UserTokenAnswer(token).data, "token": secret.text}
        return Response(answer, status=status.HTTP_201_CREATED)


class TokenDetail(APIView):
    """One token of the user's."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        tokens.revoke(_user(request).tokens.get(pk=token_id, scope=tokens.Scope.AUTH))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _user(request: Any) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
    return request.user
