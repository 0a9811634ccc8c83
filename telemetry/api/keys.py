"""API endpoints for the keys of a device and their display formats."""

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from common import timestamps
from common.api.fields import StrictDateTimeField
from common.api.serializers import StrictSerializer
from devices.authentication import get_accessible_device
from telemetry.keys import registry as keys
from telemetry.models import MAX_DECIMALS, Key


class DisplayFormatSerializer(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    unit = serializers.CharField(help_text="Empty for a number without a unit.")
    decimals = serializers.IntegerField(allow_null=True)


class KeySerializer(DisplayFormatSerializer):
    key = serializers.CharField()
    telemetry_type = serializers.CharField()
    path = serializers.CharField()
    since = StrictDateTimeField(help_text="The hour of the oldest reading with this key.")
    last_hour = StrictDateTimeField(
        allow_null=True, help_text="The newest complete hour with this key."
    )
    defaults = DisplayFormatSerializer(help_text="Guessed from the name of the key.")


class KeyListSerializer(serializers.Serializer[Any]):
    results = KeySerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Always null: the list is complete.")


class KeyUpdateSerializer(StrictSerializer):
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=64, allow_blank=True, help_text="Empty: use the path."
    )
    unit = serializers.CharField(
        max_length=16, allow_blank=True, help_text="Empty: use the default. `1`: no unit."
    )
    decimals = serializers.IntegerField(min_value=0, max_value=MAX_DECIMALS, allow_null=True)


class KeyListView(APIView):
    """List the keys of a device."""

    @extend_schema(operation_id="devices_keys_list", responses=KeyListSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        return Response(
            {"results": [serialize_key(key) for key in keys.list_for_device(device)], "next": None}
        )


class KeyDetailView(APIView):
    """One key of a device."""

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "key", OpenApiTypes.STR, OpenApiParameter.PATH, description="type.path"
            )
        ],
        request=KeyUpdateSerializer(partial=True),
        responses=KeySerializer,
    )
    def patch(self, request: Request, device_id: UUID, key: str) -> Response:
        stored_key = keys.get(get_accessible_device(request, device_id), key)
        body = KeyUpdateSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        return Response(serialize_key(keys.update_key(stored_key, **body.validated_data)))


def serialize_key(key: Key) -> dict[str, Any]:
    return {
        "key": str(key),
        "telemetry_type": key.telemetry_type,
        "path": key.key,
        "since": timestamps.format_timestamp(key.since),
        "last_hour": timestamps.format_timestamp(key.last_hour) if key.last_hour else None,
        **keys.display_format(key)._asdict(),
        "defaults": keys.guess_format(key.key)._asdict(),
    }
