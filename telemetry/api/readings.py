"""API endpoints for readings: devices store them, clients page through them."""

import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication.drf import IsAuthenticatedUser
from common import timestamps
from common.api.fields import JSONObjectField, StrictDateTimeField
from common.api.parsers import NDJSONParser, RawBodyParser
from common.api.serializers import StrictQuerySerializer, StrictSerializer
from common.strict_json import JSONError
from devices import presence
from devices.authentication import IsDevice, get_accessible_device, request_device
from devices.models import Device
from telemetry.api.query_params import time_range
from telemetry.ingest import decoding, idempotency, outcome, storage, validation
from telemetry.queries import history
from telemetry.retention import rules as retention


@extend_schema_field({"type": "object", "additionalProperties": {}, "minProperties": 1})
class PayloadField(JSONObjectField):
    """A JSON object with at least one value."""


class ReadingCreateSerializer(StrictSerializer):
    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE)
    payload = PayloadField()
    recorded_at = StrictDateTimeField(required=False, help_text="Default: the server's time.")


class ReadingSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    device_id = serializers.UUIDField()
    telemetry_type = serializers.CharField()
    payload = JSONObjectField()
    recorded_at = StrictDateTimeField()
    created_at = StrictDateTimeField()


class StoredReadingSerializer(ReadingSerializer):
    pending_commands = serializers.IntegerField(help_text="Number of commands that are pending.")


class ReadingPageSerializer(serializers.Serializer[Any]):
    results = ReadingSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="The cursor of the next page.")


class RejectedReadingSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    pointer = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class BatchCreateSerializer(StrictSerializer):
    readings = ReadingCreateSerializer(many=True)


class BatchResultSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(
        help_text="Readings that were already stored; nothing was changed."
    )
    rejected = RejectedReadingSerializer(many=True)
    pending_commands = serializers.IntegerField(help_text="Number of commands that are pending.")


class HistoryQuerySerializer(StrictQuerySerializer):
    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE, required=False)
    order = serializers.ChoiceField(["asc", "desc"], default="desc")
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)
    cursor = serializers.CharField(required=False, max_length=64)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=False)}


READINGS_REQUEST = PolymorphicProxySerializer(
    component_name="Readings",
    serializers=[
        ReadingCreateSerializer,
        BatchCreateSerializer,
        ReadingCreateSerializer(many=True),
    ],
    resource_type_field_name=None,
    many=False,
)
READINGS_RESPONSE = PolymorphicProxySerializer(
    component_name="ReadingsResult",
    serializers=[StoredReadingSerializer, BatchResultSerializer],
    resource_type_field_name=None,
    many=False,
)
INGEST_SCHEMA = extend_schema(
    request={RawBodyParser.media_type: READINGS_REQUEST, NDJSONParser.media_type: OpenApiTypes.STR},
    parameters=[
        OpenApiParameter(
            "Idempotency-Key",
            location=OpenApiParameter.HEADER,
            description="Readings without a time get the time of the first request with this key.",
        ),
        OpenApiParameter(
            "Content-Encoding", location=OpenApiParameter.HEADER, enum=["gzip", "zstd"]
        ),
    ],
    responses={
        201: READINGS_RESPONSE,
        200: OpenApiResponse(READINGS_RESPONSE, "One reading that was already stored."),
    },
)


class CurrentDeviceTelemetryView(APIView):
    """The readings of the device that sends the request."""

    parser_classes = (RawBodyParser, NDJSONParser)
    permission_classes = (IsDevice,)

    @INGEST_SCHEMA
    def post(self, request: Request) -> HttpResponse:
        return ingest_request(request_device(request), request)


class TelemetryListView(APIView):
    """The readings of one device."""

    parser_classes = (RawBodyParser, NDJSONParser)
    permission_classes = (IsAuthenticatedUser | IsDevice,)

    @INGEST_SCHEMA
    def post(self, request: Request, device_id: UUID) -> HttpResponse:
        return ingest_request(get_accessible_device(request, device_id), request)

    @extend_schema(
        operation_id="devices_telemetry_list",
        parameters=[HistoryQuerySerializer],
        responses=ReadingPageSerializer,
    )
    def get(self, request: Request, device_id: UUID) -> HttpResponse:
        device = get_accessible_device(request, device_id)
        query = HistoryQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        params = query.validated_data
        readings, next = history.page_as_json(
            device,
            limit=params["limit"],
            cursor=params.get("cursor", ""),
            ascending=params["order"] == "asc",
            telemetry_type=params.get("telemetry_type", ""),
            start=params.get("from"),
            end=params.get("to"),
        )
        results = ", ".join(readings)
        content = f'{{"results": [{results}], "next": {json.dumps(next)}}}'
        return HttpResponse(content, content_type="application/json")


class TelemetryDetailView(APIView):
    """One reading."""

    @extend_schema(responses=ReadingSerializer)
    def get(self, request: Request, device_id: UUID, reading_id: UUID) -> Response:
        reading = history.get(get_accessible_device(request, device_id), reading_id)
        return Response(ReadingSerializer(reading).data)


def ingest_request(device: Device, request: Request) -> HttpResponse:
    """Store the readings of a request, one or many, and return the result of each.

    Raises JSONSyntaxError, TooManyReadings, DeviceDeleted, and InvalidReadings if none of the
    readings is valid.
    """
    # Without a body, REST framework sets `data` to an empty dict.
    raw: Any = request.data or b""
    # Taken after the body has arrived. The worker relies on late readings being queued.
    now = timezone.now()
    body = decoding.decode(raw, by_lines=_media_type(request) == NDJSONParser.media_type)
    default_time = now
    if (key := request.headers.get("Idempotency-Key")) is not None:
        default_time = idempotency.get_or_record_receipt(device, key, raw, now=now)
    valid, rejected = validation.parse_all(
        body.values,
        device_id=device.pk,
        now=default_time,
        at=body.pointer,
        is_list=body.is_list,
        earliest=retention.earliest_allowed(device, now),
    )
    if rejected and not valid:
        presence.mark_seen(device, now=now)
        raise validation.InvalidReadings(
            [fault for faults in rejected.values() for fault in faults]
        )
    stored = storage.store(device, valid, now=now)
    if body.is_list:
        return batch_response(stored, rejected)
    return single_response(device, valid[0], stored, now)


def single_response(
    device: Device, reading: validation.ParsedReading, stored: storage.StoreResult, now: datetime
) -> HttpResponse:
    """Return the response for a request with one reading."""
    created_at = now if stored.accepted else history.get(device, reading.id).created_at
    content = {
        "id": reading.id,
        "device_id": device.pk,
        "telemetry_type": reading.telemetry_type,
        "payload": reading.payload,
        "recorded_at": timestamps.format_timestamp(reading.recorded_at),
        "created_at": timestamps.format_timestamp(created_at),
        "pending_commands": stored.pending_commands,
    }
    status_code = status.HTTP_201_CREATED if stored.accepted else status.HTTP_200_OK
    response = _json(content, status_code)
    outcome.attach_outcome(response, accepted=stored.accepted, duplicates=stored.duplicates)
    return response


def batch_response(
    stored: storage.StoreResult, rejected: Mapping[int, list[JSONError]] = MappingProxyType({})
) -> HttpResponse:
    """Return the response for a list of readings; `rejected` has the errors by index."""
    content = {
        "accepted": stored.accepted,
        "duplicates": stored.duplicates,
        "rejected": [
            {"index": index, **fault._asdict()}
            for index, faults in rejected.items()
            for fault in faults
        ],
        "pending_commands": stored.pending_commands,
    }
    response = _json(content, status.HTTP_201_CREATED)
    outcome.attach_outcome(
        response,
        accepted=stored.accepted,
        duplicates=stored.duplicates,
        rejected=len(rejected),
        faults=(fault for faults in rejected.values() for fault in faults),
    )
    return response


def _json(content: Any, status_code: int) -> HttpResponse:
    # The renderer of REST framework takes ten times as long.
    return HttpResponse(
        validation.to_json(content), status=status_code, content_type="application/json"
    )


def _media_type(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()
