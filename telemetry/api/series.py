"""Values over time, for charts."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.strict import StrictSerializer
from devices.authentication import reachable_device
from telemetry import series
from telemetry.api.queries import time_range


class SeriesColumns(serializers.Serializer[Any]):
    t = serializers.ListField(child=serializers.IntegerField(), help_text="Unix seconds.")
    avg = serializers.ListField(child=serializers.FloatField())
    min = serializers.ListField(child=serializers.FloatField())
    max = serializers.ListField(child=serializers.FloatField())
    count = serializers.ListField(child=serializers.IntegerField())


class SeriesAnswer(serializers.Serializer[Any]):
    resolution = serializers.IntegerField(help_text="Seconds in a bucket.")
    series = serializers.DictField(child=SeriesColumns())


class SeriesQuery(StrictSerializer):
    key = serializers.ListField(
        child=serializers.RegexField(series.KEY),
        max_length=series.KEYS_LIMIT,
        help_text="Several keys: give it several times.",
    )
    points = serializers.IntegerField(min_value=1, max_value=series.POINTS_LIMIT, default=500)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError({"to": ["Must be after `from`."]})
        return attrs


class Series(APIView):
    """Values over time in buckets, as columns."""

    @extend_schema(parameters=[SeriesQuery], responses=SeriesAnswer)
    def get(self, request: Request, device_id: UUID) -> Response:
        device = reachable_device(request, device_id)
        query = SeriesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        step = series.resolution(asked["from"], asked["to"], asked["points"])
        columns = {
            key: series.series(device, key=key, start=asked["from"], end=asked["to"], step=step)
            for key in dict.fromkeys(asked["key"])
        }
        return Response(
            {
                "resolution": step // timedelta(seconds=1),
                "series": {key: found._asdict() for key, found in columns.items()},
            }
        )
