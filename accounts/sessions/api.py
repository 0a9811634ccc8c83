"""API of a user's sessions."""

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

from accounts.authentication.requests import get_api_user
from accounts.models import Session
from accounts.sessions import services as sessions


class SessionSerializer(serializers.ModelSerializer[Session]):
    current = serializers.SerializerMethodField()

    class Meta:
        model = Session
        fields = (
            "id",
            "current",
            "address",
            "user_agent",
            "created_at",
            "last_seen_at",
            "expires_at",
        )

    def get_current(self, session: Session) -> bool:
        """Return whether the request uses this session."""
        current = sessions.get_session_store(self.context["request"]._request)
        return bytes(session.key_hash) == current.key_hash


class SessionListView(GenericAPIView[Session]):
    """The user's browser sessions."""

    serializer_class = SessionSerializer

    def get_queryset(self) -> QuerySet[Session]:
        if isinstance(self.request.user, AnonymousUser):
            return Session.objects.none()
        return sessions.active_for_user(get_api_user(self.request), now=timezone.now())

    @extend_schema(operation_id="sessions_list")
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class SessionDetailView(APIView):
    """One session of the user."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, session_id: UUID) -> Response:
        sessions.end_session(get_api_user(request), session_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
