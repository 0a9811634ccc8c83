"""API endpoint for the newest values of a device."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from common import timestamps
from common.api.fields import StrictDateTimeField
from devices.authentication import get_accessible_device
from telemetry.api.keys import DisplayFormatSerializer
from telemetry.ingest import validation
from telemetry.keys import registry as keys
from telemetry.queries import history


class LatestValueSerializer(DisplayFormatSerializer):
    key = serializers.CharField()
    path = serializers.CharField()
    value = serializers.JSONField()


class LatestReadingSerializer(serializers.Serializer[Any]):
    telemetry_type = serializers.CharField()
    recorded_at = StrictDateTimeField()
    values = LatestValueSerializer(many=True)


class LatestReadingListSerializer(serializers.Serializer[Any]):
    results = LatestReadingSerializer(many=True)


class LatestReadingsView(APIView):
    """The newest reading of each type with the display formats of its values."""

    @extend_schema(responses=LatestReadingListSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        formats = keys.display_formats_for([device])[device.pk]
        results = [
            {
                "telemetry_type": reading.telemetry_type,
                "recorded_at": timestamps.format_timestamp(reading.recorded_at),
                "values": [
                    {
                        "key": f"{reading.telemetry_type}.{path}",
                        "path": path,
                        "value": value,
                        **formats[reading.telemetry_type, path].for_value(value)._asdict(),
                    }
                    for path, value in validation.iter_values(reading.payload)
                ],
            }
            for reading in history.latest_readings([device])[device.pk]
        ]
        return Response({"results": results})
