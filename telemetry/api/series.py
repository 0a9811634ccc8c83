"""Values over time, for charts."""

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


class SeriesColumns(serializers.Serializer[Any]):
    avg = serializers.ListField(child=serializers.FloatField(allow_null=True))
    min = serializers.ListField(child=serializers.FloatField(allow_null=True))
    max = serializers.ListField(child=serializers.FloatField(allow_null=True))
    count = serializers.ListField(child=serializers.IntegerField())


class SeriesAnswer(serializers.Serializer[Any]):
    resolution = serializers.IntegerField(help_text="Seconds in a bucket.")
    source = serializers.ChoiceField(  # type: ignore[assignment] # a name the framework has too
        ["raw", "hour", "day"], help_text="The coarsest of what the buckets were made from."
    )
    t = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="When each bucket begins, in Unix seconds. Buckets in which no key has a value "
        "are left out, but for one wherever the device was silent for longer than expected.",
    )
    series = serializers.DictField(
        child=SeriesColumns(), help_text="By key; null, and 0 as the count, where it has no value."
    )


class SeriesQuery(StrictQuerySerializer):
    key = serializers.ListField(
        child=serializers.RegexField(series.KEY),
        max_length=series.KEYS_LIMIT,
        help_text="Several keys: give it several times.",
    )
    points = serializers.IntegerField(
        min_value=1,
        max_value=series.POINTS_LIMIT,
        default=500,
        help_text="How many buckets there may be; they are as short as that and their source lets.",
    )
    time_zone = serializers.CharField(
        default="UTC",
        validators=[validate_time_zone],
        help_text="Of the IANA database: buckets begin on round times there.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError({"to": ["Must be after `from`."]})
        return attrs


class Series(APIView):
    """Values over time in buckets, as columns."""

    @extend_schema(parameters=[SeriesQuery], responses=SeriesAnswer)
    def get(self, request: Request, device_id: UUID) -> HttpResponse:
        return series_response(get_accessible_device(request, device_id), request.query_params)


def series_response(device: Device, asked_for: Mapping[str, Any]) -> HttpResponse:
    """The columns of this device's chart, to whoever may see it.

    Raises the framework's ValidationError.
    """
    query = SeriesQuery(data=asked_for)
    query.is_valid(raise_exception=True)
    asked = query.validated_data
    found = series.query_series(
        device,
        keys=asked["key"],
        start=asked["from"],
        end=asked["to"],
        points=asked["points"],
        zone=ZoneInfo(asked["time_zone"]),
        now=timezone.now(),
        kept=AvailableFrom.of(device),
    )
    told = {
        "resolution": found.resolution,
        "source": found.source,
        "t": found.t,
        "series": {key: columns._asdict() for key, columns in found.columns.items()},
    }
    # The framework's own renderer would take as long as the database for so many numbers.
    return HttpResponse(msgspec.json.encode(told), content_type="application/json")
