"""The keys of a device, and how their values are to be shown."""

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
from telemetry.models import MOST_DECIMALS, Key


class ShownAnswer(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    unit = serializers.CharField(help_text="Empty for a mere number.")
    decimals = serializers.IntegerField(allow_null=True)


class KeyAnswer(ShownAnswer):
    key = serializers.CharField()
    telemetry_type = serializers.CharField()
    path = serializers.CharField()
    since = StrictDateTimeField(help_text="The hour of its oldest reading.")
    last_hour = StrictDateTimeField(
        allow_null=True, help_text="The newest hour with it; hours count once they are over."
    )
    defaults = ShownAnswer(help_text="What the name tells.")


class KeyList(serializers.Serializer[Any]):
    results = KeyAnswer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Always null: these are all.")


class KeyBody(StrictSerializer):
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=64, allow_blank=True, help_text="Empty: the path."
    )
    unit = serializers.CharField(
        max_length=16, allow_blank=True, help_text="Empty: the default; `1`: no unit."
    )
    decimals = serializers.IntegerField(min_value=0, max_value=MOST_DECIMALS, allow_null=True)


class KeysOfDevice(APIView):
    """Every key that a device has sent."""

    @extend_schema(operation_id="devices_keys_list", responses=KeyList)
    def get(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        return Response(
            {"results": [serialize_key(key) for key in keys.list_for_device(device)], "next": None}
        )


class KeyDetail(APIView):
    """One key, by its name."""

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "key", OpenApiTypes.STR, OpenApiParameter.PATH, description="type.path"
            )
        ],
        request=KeyBody(partial=True),
        responses=KeyAnswer,
    )
    def patch(self, request: Request, device_id: UUID, key: str) -> Response:
        found = keys.get(get_accessible_device(request, device_id), key)
        body = KeyBody(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        return Response(serialize_key(keys.change(found, **body.validated_data)))


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
