"""API endpoint for values over time, for charts."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import validate_time_zone
from common.api.serializers import StrictQuerySerializer
from devices.authentication import get_accessible_device
from devices.models import Device
from telemetry.api.query_params import time_range
from telemetry.queries import series
from telemetry.rollups.build import AvailableFrom


class SeriesColumnsSerializer(serializers.Serializer[Any]):
    avg = serializers.ListField(child=serializers.FloatField(allow_null=True))
    min = serializers.ListField(child=serializers.FloatField(allow_null=True))
    max = serializers.ListField(child=serializers.FloatField(allow_null=True))
    count = serializers.ListField(child=serializers.IntegerField())


class SeriesSerializer(serializers.Serializer[Any]):
    resolution = serializers.IntegerField(help_text="Seconds in a bucket.")
    source = serializers.ChoiceField(  # type: ignore[assignment] # also an attribute of Field
        ["raw", "hour", "day"], help_text="The coarsest table that the buckets were computed from."
    )
    t = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="The start of each bucket in Unix seconds. Buckets without a value are left out, "
        "except one for each gap in which the device was silent for longer than expected.",
    )
    series = serializers.DictField(
        child=SeriesColumnsSerializer(),
        help_text="By key. A bucket without a value has null, and 0 as the count.",
    )


class SeriesQuerySerializer(StrictQuerySerializer):
    key = serializers.ListField(
        child=serializers.RegexField(series.KEY),
        max_length=series.KEYS_LIMIT,
        help_text="Repeat the parameter for several keys.",
    )
    points = serializers.IntegerField(
        min_value=1,
        max_value=series.POINTS_LIMIT,
        default=500,
        help_text="Maximum number of buckets. They are as short as this and the stored data allow.",
    )
    time_zone = serializers.CharField(
        default="UTC",
        validators=[validate_time_zone],
        help_text="IANA time zone. Buckets begin at round local times in this zone.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError({"to": ["Must be after `from`."]})
        return attrs


class SeriesView(APIView):
    """Values over time in buckets, as columns."""

    @extend_schema(parameters=[SeriesQuerySerializer], responses=SeriesSerializer)
    def get(self, request: Request, device_id: UUID) -> HttpResponse:
        return series_response(get_accessible_device(request, device_id), request.query_params)


def series_response(device: Device, query_params: Mapping[str, Any]) -> HttpResponse:
    """Return the columns of a chart of this device; the caller must check the permission.

    Raises rest_framework.exceptions.ValidationError.
    """
    query = SeriesQuerySerializer(data=query_params)
    query.is_valid(raise_exception=True)
    params = query.validated_data
    result = series.query_series(
        device,
        keys=params["key"],
        start=params["from"],
        end=params["to"],
        points=params["points"],
        zone=ZoneInfo(params["time_zone"]),
        now=timezone.now(),
        available_from=AvailableFrom.for_device(device),
    )
    content = {
        "resolution": result.resolution,
        "source": result.source,
        "t": result.timestamps,
        "series": {key: columns._asdict() for key, columns in result.columns.items()},
    }
    # For so many numbers, the renderer of REST framework takes as long as the database.
    return HttpResponse(msgspec.json.encode(content), content_type="application/json")
