"""API of a user's tokens."""

from datetime import datetime, timedelta
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

from accounts.authentication.drf import CodeRequired, lacks_code
from accounts.authentication.requests import get_api_user
from accounts.mfa import services as mfa
from accounts.models import Token
from accounts.tokens import services as tokens
from common.api.serializers import StrictSerializer


class UserTokenCreateSerializer(StrictSerializer):
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, default=""
    )
    access = serializers.ChoiceField(Token.Access.choices, default=Token.Access.FULL)
    expires_in = serializers.IntegerField(
        min_value=60,
        max_value=tokens.MAX_TTL_SECONDS,
        default=tokens.DEFAULT_TTL_SECONDS,
        help_text="Seconds. A token created with another token expires no later than that.",
    )
    code = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        help_text="A code of the authenticator or a recovery code, with two-factor authentication.",
    )


class UserTokenSerializer(serializers.ModelSerializer[Token]):
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


class NewUserTokenSerializer(UserTokenSerializer):
    token = serializers.CharField(help_text="Shown once.")

    class Meta(UserTokenSerializer.Meta):
        fields = (*UserTokenSerializer.Meta.fields, "token")  # type: ignore[assignment]


def _check_code(request: Request, code: str, *, now: datetime) -> None:
    """Check the code, if the user has MFA. A session that was opened with a code needs none.

    Raises CodeRequired and TooManyAttempts.
    """
    by_token = isinstance(request.auth, Token)
    if not (mfa.is_enabled(get_api_user(request)) if by_token else lacks_code(request._request)):
        return
    if not code:
        raise CodeRequired("Send a code of your authenticator as `code`.")
    try:
        mfa.verify_code(get_api_user(request), code, now=now)
    except mfa.InvalidCode:
        raise CodeRequired("The code is wrong or was used already.") from None


class TokenListView(GenericAPIView[Token]):
    """The user's API tokens, without hashes."""

    serializer_class = UserTokenSerializer

    def get_queryset(self) -> QuerySet[Token]:
        if isinstance(self.request.user, AnonymousUser):
            return Token.objects.none()
        return Token.objects.filter(user=self.request.user, scope=tokens.Scope.AUTH)

    @extend_schema(operation_id="tokens_list")
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=UserTokenCreateSerializer, responses={201: NewUserTokenSerializer})
    def post(self, request: Request) -> Response:
        """Create a token. A token that is created with another token expires and is revoked with
        it. With two-factor authentication, a `code` is required.
        """
        body = UserTokenCreateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data, now = dict(body.validated_data), timezone.now()
        parent = request.auth if isinstance(request.auth, Token) else None
        _check_code(request, data.pop("code"), now=now)
        token, secret = tokens.issue(
            get_api_user(request),
            scope=tokens.Scope.AUTH,
            now=now,
            lifetime=timedelta(seconds=data.pop("expires_in")),
            parent=parent,
            **data,
        )
        representation = {**UserTokenSerializer(token).data, "token": secret.text}
        return Response(representation, status=status.HTTP_201_CREATED)


class TokenDetailView(APIView):
    """One API token of the user."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        tokens.revoke(get_api_user(request).tokens.get(pk=token_id, scope=tokens.Scope.AUTH))
        return Response(status=status.HTTP_204_NO_CONTENT)
