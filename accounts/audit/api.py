"""API of a user's own audit trail."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import AuditEvent, AuditEventQuerySet
from common.api.serializers import StrictQuerySerializer

ACTION = r"^[a-z_]{1,32}(\.[a-z_]{1,32})?"


class AuditQuerySerializer(StrictQuerySerializer):
    action = serializers.RegexField(rf"{ACTION}\Z", required=False)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    address = serializers.CharField(source="ip_address_for_owner", allow_null=True)
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)

    class Meta:
        model = AuditEvent
        fields = (
            "id",
            "created_at",
            "action",
            "actor_name",
            "means",
            "means_name",
            "address",
            "target_kind",
            "target_id",
            "target_name",
            "before",
            "after",
        )


class AuditEventListView(GenericAPIView[AuditEvent]):
    """Audit events of the user's account and devices, newest first."""

    serializer_class = AuditEventSerializer

    def get_queryset(self) -> AuditEventQuerySet:
        user: Any = self.request.user
        return AuditEvent.objects.for_owner(user) if user.pk else AuditEvent.objects.none()

    @extend_schema(
        operation_id="audit_list",
        parameters=[
            OpenApiParameter(
                "action",
                {"type": "string", "pattern": f"{ACTION}$"},
                description="An action (`token.issued`), or all actions of a category (`token`).",
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        query = AuditQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        events = self.get_queryset()
        if action := query.validated_data.get("action"):
            events = events.in_category(action)
        page = self.paginate_queryset(events)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
