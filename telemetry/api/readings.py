"""Readings: devices send them, programs page through them."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import IsUser
from accounts.strict import StrictSerializer
from devices import presence
from devices.authentication import IsDevice, reachable_device, speaking_device
from devices.fields import ObjectField, TimeField
from devices.free_json import Fault, repetition
from devices.models import Device
from devices.parsers import JSONParser
from telemetry import history, ingest, readings
from telemetry.api.queries import time_range


class ReadingBody(StrictSerializer):
    telemetry_type = serializers.RegexField(readings.TELEMETRY_TYPE)
    payload = ObjectField()
    recorded_at = TimeField(required=False, help_text="Without it, the server's time.")


class ReadingAnswer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    device_id = serializers.UUIDField()
    telemetry_type = serializers.CharField()
    payload = ObjectField()
    recorded_at = TimeField()
    created_at = TimeField()


class ReadingPage(serializers.Serializer[Any]):
    results = ReadingAnswer(many=True)
    next = serializers.CharField(allow_null=True, help_text="The cursor of the next page.")


class Rejection(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    pointer = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class BatchBody(serializers.Serializer[Any]):
    readings = ReadingBody(many=True)


class BatchAnswer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Already stored; nothing was changed.")
    rejected = Rejection(many=True)
    pending_commands = serializers.IntegerField(help_text="How many wait to be fetched.")


class HistoryQuery(StrictSerializer):
    telemetry_type = serializers.RegexField(readings.TELEMETRY_TYPE, required=False)
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
    serializers=[ReadingAnswer, BatchAnswer],
    resource_type_field_name=None,
    many=False,
)
INGEST = extend_schema(
    request=SENT,
    responses={
        201: STORED,
        200: OpenApiResponse(STORED, "One reading, which was stored before."),
    },
)


class DeviceTelemetry(APIView):
    """A device's own readings."""

    parser_classes = (JSONParser,)
    permission_classes = (IsDevice,)

    @INGEST
    def post(self, request: Request) -> Response:
        return accept(speaking_device(request), request.data)


class TelemetryList(APIView):
    """The readings of one device."""

    parser_classes = (JSONParser,)
    permission_classes = (IsUser | IsDevice,)

    @INGEST
    def post(self, request: Request, device_id: UUID) -> Response:
        return accept(reachable_device(request, device_id), request.data)

    @extend_schema(
        operation_id="devices_telemetry_list", parameters=[HistoryQuery], responses=ReadingPage
    )
    def get(self, request: Request, device_id: UUID) -> Response:
        device = reachable_device(request, device_id)
        query = HistoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        page = history.page(
            device,
            limit=asked["limit"],
            cursor=asked.get("cursor", ""),
            ascending=asked["order"] == "asc",
            telemetry_type=asked.get("telemetry_type", ""),
            start=asked.get("from"),
            end=asked.get("to"),
        )
        results = ReadingAnswer(page.readings, many=True).data
        return Response({"results": results, "next": page.next})


class TelemetryDetail(APIView):
    """One reading."""

    @extend_schema(responses=ReadingAnswer)
    def get(self, request: Request, device_id: UUID, reading_id: UUID) -> Response:
        reading = history.get(reachable_device(request, device_id), reading_id)
        return Response(ReadingAnswer(reading).data)


def accept(device: Device, sent: Any) -> Response:
    """Store what was sent, one reading or many, and say what became of each.

    Raises InvalidReadings when not one of them is valid, TooManyReadings, DeviceGone.
    """
    if isinstance(sent, dict) and set(sent) == {"readings"}:
        if twice := repetition(sent, at=""):
            raise readings.InvalidReadings([twice])
        return _accept_many(device, sent["readings"], at="/readings")
    if isinstance(sent, list):
        return _accept_many(device, sent, at="")
    now = timezone.now()
    reading = readings.parse(sent, device_id=device.pk, now=now)
    if not isinstance(reading, readings.Reading):
        presence.mark_seen(device, now=now)
        raise readings.InvalidReadings(reading)
    stored = ingest.store(device, [reading], now=now)
    answer = {
        **ReadingAnswer(history.get(device, reading.id)).data,
        "pending_commands": device.waiting_commands(now),
    }
    code = status.HTTP_201_CREATED if stored.accepted else status.HTTP_200_OK
    return Response(answer, status=code)


def _accept_many(device: Device, sent: Any, *, at: str) -> Response:
    if not isinstance(sent, list):
        raise readings.InvalidReadings([Fault(at, "not-a-list", "A list of readings.")])
    if len(sent) > settings.READINGS_PER_REQUEST:
        raise ingest.TooManyReadings
    now = timezone.now()
    valid, rejected = readings.parse_all(sent, device_id=device.pk, now=now, at=at)
    if rejected and not valid:
        presence.mark_seen(device, now=now)
        raise readings.InvalidReadings([fault for faults in rejected.values() for fault in faults])
    stored = ingest.store(device, valid, now=now)
    answer = {
        "accepted": stored.accepted,
        "duplicates": stored.duplicates,
        "rejected": [
            {"index": index, **fault._asdict()}
            for index, faults in rejected.items()
            for fault in faults
        ],
        "pending_commands": device.waiting_commands(now),
    }
    return Response(answer, status=status.HTTP_201_CREATED)
