"""Readings: devices send them, programs page through them."""

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
    """A free JSON object that says something."""


class ReadingBody(StrictSerializer):
    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE)
    payload = PayloadField()
    recorded_at = StrictDateTimeField(required=False, help_text="Without it, the server's time.")


class ReadingAnswer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    device_id = serializers.UUIDField()
    telemetry_type = serializers.CharField()
    payload = JSONObjectField()
    recorded_at = StrictDateTimeField()
    created_at = StrictDateTimeField()


class StoredReadingAnswer(ReadingAnswer):
    pending_commands = serializers.IntegerField(help_text="How many wait to be fetched.")


class ReadingPage(serializers.Serializer[Any]):
    results = ReadingAnswer(many=True)
    next = serializers.CharField(allow_null=True, help_text="The cursor of the next page.")


class Rejection(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    pointer = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class BatchBody(StrictSerializer):
    readings = ReadingBody(many=True)


class BatchAnswer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Already stored; nothing was changed.")
    rejected = Rejection(many=True)
    pending_commands = serializers.IntegerField(help_text="How many wait to be fetched.")


class HistoryQuery(StrictQuerySerializer):
    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE, required=False)
    order = serializers.ChoiceField(["asc", "desc"], default="desc")
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)
    cursor = serializers.CharField(required=False, max_length=64)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=False)}


SENT = PolymorphicProxySerializer(
    component_name="Sent",
    serializers=[ReadingBody, BatchBody, ReadingBody(many=True)],
    resource_type_field_name=None,
    many=False,
)
STORED = PolymorphicProxySerializer(
    component_name="Stored",
    serializers=[StoredReadingAnswer, BatchAnswer],
    resource_type_field_name=None,
    many=False,
)
INGEST = extend_schema(
    request={RawBodyParser.media_type: SENT, NDJSONParser.media_type: OpenApiTypes.STR},
    parameters=[
        OpenApiParameter(
            "Idempotency-Key",
            location=OpenApiParameter.HEADER,
            description="Readings without a time get that of the first delivery with this key.",
        ),
        OpenApiParameter(
            "Content-Encoding", location=OpenApiParameter.HEADER, enum=["gzip", "zstd"]
        ),
    ],
    responses={
        201: STORED,
        200: OpenApiResponse(STORED, "One reading, which was stored before."),
    },
)


class DeviceTelemetry(APIView):
    """A device's own readings."""

    parser_classes = (RawBodyParser, NDJSONParser)
    permission_classes = (IsDevice,)

    @INGEST
    def post(self, request: Request) -> HttpResponse:
        return ingest_request(request_device(request), request)


class TelemetryList(APIView):
    """The readings of one device."""

    parser_classes = (RawBodyParser, NDJSONParser)
    permission_classes = (IsAuthenticatedUser | IsDevice,)

    @INGEST
    def post(self, request: Request, device_id: UUID) -> HttpResponse:
        return ingest_request(get_accessible_device(request, device_id), request)

    @extend_schema(
        operation_id="devices_telemetry_list", parameters=[HistoryQuery], responses=ReadingPage
    )
    def get(self, request: Request, device_id: UUID) -> HttpResponse:
        device = get_accessible_device(request, device_id)
        query = HistoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        found, next = history.page_as_json(
            device,
            limit=asked["limit"],
            cursor=asked.get("cursor", ""),
            ascending=asked["order"] == "asc",
            telemetry_type=asked.get("telemetry_type", ""),
            start=asked.get("from"),
            end=asked.get("to"),
        )
        results = ", ".join(found)
        answer = f'{{"results": [{results}], "next": {json.dumps(next)}}}'
        return HttpResponse(answer, content_type="application/json")


class TelemetryDetail(APIView):
    """One reading."""

    @extend_schema(responses=ReadingAnswer)
    def get(self, request: Request, device_id: UUID, reading_id: UUID) -> Response:
        reading = history.get(get_accessible_device(request, device_id), reading_id)
        return Response(ReadingAnswer(reading).data)


def ingest_request(device: Device, request: Request) -> HttpResponse:
    """Store what was sent, one reading or many, and say what became of each.

    Raises NotJSON, InvalidReadings when not one of them is valid, TooManyReadings, DeviceGone.
    """
    # Without a body the framework makes an empty object of it.
    raw: Any = request.data or b""
    # When it has come, not when it began to: the worker counts on what is late being marked.
    now = timezone.now()
    body = decoding.decode(raw, by_lines=_media_type(request) == NDJSONParser.media_type)
    named = now
    if (key := request.headers.get("Idempotency-Key")) is not None:
        named = idempotency.get_or_record_receipt(device, key, raw, now=now)
    valid, rejected = validation.parse_all(
        body.values,
        device_id=device.pk,
        now=named,
        at=body.at,
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
    device: Device, reading: validation.Reading, stored: storage.StoreResult, now: datetime
) -> HttpResponse:
    """The answer to a reading that was sent alone."""
    created_at = now if stored.accepted else history.get(device, reading.id).created_at
    answer = {
        "id": reading.id,
        "device_id": device.pk,
        "telemetry_type": reading.telemetry_type,
        "payload": reading.payload,
        "recorded_at": timestamps.format_timestamp(reading.recorded_at),
        "created_at": timestamps.format_timestamp(created_at),
        "pending_commands": stored.pending_commands,
    }
    code = status.HTTP_201_CREATED if stored.accepted else status.HTTP_200_OK
    made = _json(answer, code)
    outcome.attach_outcome(made, accepted=stored.accepted, duplicates=stored.duplicates)
    return made


def batch_response(
    stored: storage.StoreResult, rejected: Mapping[int, list[JSONError]] = MappingProxyType({})
) -> HttpResponse:
    """The answer to readings that were sent together; `rejected` has the faults of some."""
    answer = {
        "accepted": stored.accepted,
        "duplicates": stored.duplicates,
        "rejected": [
            {"index": index, **fault._asdict()}
            for index, faults in rejected.items()
            for fault in faults
        ],
        "pending_commands": stored.pending_commands,
    }
    made = _json(answer, status.HTTP_201_CREATED)
    outcome.attach_outcome(
        made,
        accepted=stored.accepted,
        duplicates=stored.duplicates,
        rejected=len(rejected),
        faults=(fault for faults in rejected.values() for fault in faults),
    )
    return made


def _json(answer: Any, code: int) -> HttpResponse:
    # The framework's renderer takes ten times as long.
    return HttpResponse(validation.to_json(answer), status=code, content_type="application/json")


def _media_type(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()
