"""The newest values of a device."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import times
from devices.authentication import reachable_device
from devices.fields import TimeField
from telemetry import history, keys, readings
from telemetry.api.keys import ShownAnswer


class LatestValue(ShownAnswer):
    key = serializers.CharField()
    path = serializers.CharField()
    value = serializers.JSONField()


class LatestAnswer(serializers.Serializer[Any]):
    telemetry_type = serializers.CharField()
    recorded_at = TimeField()
    values = LatestValue(many=True)


class LatestList(serializers.Serializer[Any]):
    results = LatestAnswer(many=True)


class Latest(APIView):
    """The newest reading of each type, and how its values are shown."""

    @extend_schema(responses=LatestList)
    def get(self, request: Request, device_id: UUID) -> Response:
        device = reachable_device(request, device_id)
        display = keys.displays([device])[device.pk]
        results = [
            {
                "telemetry_type": reading.telemetry_type,
                "recorded_at": times.show(reading.recorded_at),
                "values": [
                    {
                        "key": f"{reading.telemetry_type}.{path}",
                        "path": path,
                        "value": value,
                        **display[reading.telemetry_type, path].of(value)._asdict(),
                    }
                    for path, value in readings.values(reading.payload)
                ],
            }
            for reading in history.latest([device])[device.pk]
        ]
        return Response({"results": results})
