"""Commands: programs issue them, devices fetch and answer them."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication.drf import IsAuthenticatedUser
from accounts.models import User
from commands import catalogue
from commands import services as command_services
from commands.models import COMMAND_NAME, Command, CommandType
from common import timestamps
from common.api import idempotency_keys
from common.api.fields import JSONObjectField, StrictDateTimeField
from common.api.serializers import StrictSerializer
from devices import presence
from devices.authentication import IsDevice, get_accessible_device, request_device
from devices.models import Device, DeviceToken

OUTCOMES = [
    (command_services.Status.EXECUTED.value, "executed"),
    (command_services.Status.FAILED.value, "failed"),
]
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="Sent again with the same key, it is the same command.",
)


class CommandBody(StrictSerializer):
    command_name = serializers.RegexField(COMMAND_NAME)
    payload = JSONObjectField(required=False, default=dict)
    expires_in = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=int(command_services.LONGEST_LIFE.total_seconds()),
        help_text="Seconds after which it is no longer delivered; else as the catalogue says.",
    )


class CommandResultSerializer(StrictSerializer):
    status = serializers.ChoiceField(OUTCOMES)
    executed_at = StrictDateTimeField(required=False)
    result = JSONObjectField(required=False, allow_null=True, default=None)
    reason = serializers.ChoiceField(
        [command_services.Reason.DEVICE, command_services.Reason.REJECTED],
        required=False,
        help_text="Why it failed: the device could not do it, or refused to.",
    )

    def validate_executed_at(self, executed_at: datetime) -> datetime:
        if detail := timestamps.range_error(executed_at, now=timezone.now()):
            raise serializers.ValidationError(detail, code="time-out-of-range")
        return executed_at

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["status"] == command_services.Status.EXECUTED and "reason" in attrs:
            detail = "Only what failed has a reason."
            raise serializers.ValidationError({"reason": [detail]}, code="not-allowed")
        return attrs


class CommandAnswer(serializers.ModelSerializer[Command]):
    payload = JSONObjectField()
    result = JSONObjectField(allow_null=True)
    # The device's own word, and so of any year; the framework writes those before 1000 short.
    executed_at = StrictDateTimeField(allow_null=True)

    class Meta:
        model = Command
        fields = (
            "id",
            "device_id",
            "command_name",
            "payload",
            "status",
            "reason",
            "result",
            "attempts",
            "created_at",
            "delivered_at",
            "expires_at",
            "executed_at",
            "finished_at",
            "late",
            "retry_of_id",
            "batch_id",
        )


class CommandTypeAnswer(serializers.ModelSerializer[CommandType]):
    payload_schema = serializers.JSONField()

    class Meta:
        model = CommandType
        fields = ("command_name", "title", "payload_schema", "confirm", "default_expiry")


class CommandTypesAnswer(serializers.Serializer[Any]):
    results = CommandTypeAnswer(many=True)


class ClaimAnswer(serializers.Serializer[Any]):
    results = CommandAnswer(many=True)


class CommandList(GenericAPIView[Command]):
    """The commands of one device, newest first."""

    serializer_class = CommandAnswer

    def get_queryset(self) -> QuerySet[Command]:
        return get_accessible_device(self.request, self.kwargs["device_id"]).commands.all()

    @extend_schema(operation_id="devices_commands_list")
    def get(self, request: Request, device_id: UUID) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(serialize_commands(page, timezone.now()))

    @extend_schema(
        request=CommandBody, responses={201: CommandAnswer}, parameters=[IDEMPOTENCY_KEY]
    )
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        body = CommandBody(data=request.data)
        body.is_valid(raise_exception=True)
        command = command_services.create_command(
            device,
            issued_by=request_user(request),
            now=timezone.now(),
            idempotency_key=idempotency_key(request),
            **command_kwargs(body),
        )
        return Response(CommandAnswer(command).data, status=status.HTTP_201_CREATED)


class CommandDetail(APIView):
    """One command: its owner looks at it, its device answers it."""

    permission_classes = (IsAuthenticatedUser | IsDevice,)

    @extend_schema(responses=CommandAnswer)
    def get(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        command = get_accessible_device(request, device_id).commands.get(pk=command_id)
        return Response(CommandAnswer(command.as_of(timezone.now())).data)

    @extend_schema(request=CommandResultSerializer, responses=CommandAnswer)
    def patch(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        return record_result_response(
            request, get_accessible_device(request, device_id), command_id
        )


class CommandCancel(APIView):
    """Take back a command that is still pending."""

    @extend_schema(request=None, responses=CommandAnswer)
    def post(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        command = get_accessible_device(request, device_id).commands.get(pk=command_id)
        return Response(CommandAnswer(command_services.cancel(command, now=timezone.now())).data)


CLAIMED_AT_ONCE = re.compile(r"[1-9][0-9]?", re.ASCII)


def claim_limit(query: QueryDict) -> int:
    """How many commands to claim at the most: `limit`, from 1 to CLAIM_LIMIT."""
    text = query.get("limit") or str(command_services.CLAIM_LIMIT)
    if not CLAIMED_AT_ONCE.fullmatch(text) or int(text) > command_services.CLAIM_LIMIT:
        detail = f"From 1 to {command_services.CLAIM_LIMIT}."
        raise serializers.ValidationError({"limit": [detail]}, code="invalid")
    return int(text)


LONGEST_WAIT = 30.0
WAIT = re.compile(r"[0-9]{1,2}(\.[0-9]{1,20})?", re.ASCII)


def claim_wait(query: QueryDict) -> float:
    """How many seconds to wait for a command: `wait`, from 0 to LONGEST_WAIT."""
    text = query.get("wait", "0")
    if not WAIT.fullmatch(text) or float(text) > LONGEST_WAIT:
        detail = f"From 0 to {LONGEST_WAIT:.0f} seconds."
        raise serializers.ValidationError({"wait": [detail]}, code="invalid")
    return float(text)


class CommandRetry(APIView):
    """Send a command that has ended again: a new one that refers to it."""

    @extend_schema(request=None, responses={201: CommandAnswer}, parameters=[IDEMPOTENCY_KEY])
    def post(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        command = command_services.resend(
            get_accessible_device(request, device_id).commands.get(pk=command_id),
            issued_by=request_user(request),
            now=timezone.now(),
            idempotency_key=idempotency_key(request),
        )
        return Response(CommandAnswer(command).data, status=status.HTTP_201_CREATED)


class CommandTypes(APIView):
    """What a device can be asked. Without any it takes every command, with any payload."""

    @extend_schema(operation_id="devices_command_types_list", responses=CommandTypesAnswer)
    def get(self, request: Request, device_id: UUID) -> Response:
        kinds = catalogue.for_device(get_accessible_device(request, device_id))
        return Response({"results": CommandTypeAnswer(kinds, many=True).data})


class ClaimCommandsView(APIView):
    """Fetch the commands that wait for the asking device, oldest first."""

    permission_classes = (IsDevice,)
    # Not HEAD, which would claim commands and deliver none.
    http_method_names = ("get", "options")

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "wait",
                {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
                description="Seconds to wait for a command, 0 to 30. Only at the `live_url` that "
                "`GET /device` tells; elsewhere the answer comes at once.",
            ),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": command_services.CLAIM_LIMIT},
                description="Commands at the most.",
            ),
        ],
        responses={200: ClaimAnswer, 204: None},
    )
    def get(self, request: Request) -> Response:
        now = timezone.now()
        device = request_device(request)
        presence.mark_seen(device, now=now)
        limit = claim_limit(request.query_params)
        # Where nobody waits a wrong one is as wrong.
        claim_wait(request.query_params)
        claimed = command_services.claim(device, now=now, limit=limit)
        if not claimed:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response({"results": serialize_commands(claimed, now)})


class CommandResultView(APIView):
    """Answer a command as the device it was for."""

    permission_classes = (IsDevice,)

    @extend_schema(request=CommandResultSerializer, responses=CommandAnswer)
    def patch(self, request: Request, command_id: UUID) -> Response:
        return record_result_response(request, request_device(request), command_id)


def record_result_response(request: Request, device: Device, command_id: UUID) -> Response:
    """Store the outcome of a command in the request's body."""
    now = timezone.now()
    command = device.commands.get(pk=command_id)
    body = CommandResultSerializer(data=request.data)
    body.is_valid(raise_exception=True)
    if isinstance(request.auth, DeviceToken):
        presence.mark_seen(device, now=now)
    return Response(
        CommandAnswer(command_services.record_result(command, now=now, **body.validated_data)).data
    )


def serialize_commands(commands: list[Command], now: datetime) -> list[dict[str, Any]]:
    """Commands as they stand at `now`."""
    return list(CommandAnswer([command.as_of(now) for command in commands], many=True).data)


def command_kwargs(body: CommandBody) -> dict[str, Any]:
    """What a checked body asks for, as the domain takes it."""
    asked = dict(body.validated_data)
    seconds = asked.pop("expires_in", None)
    return {**asked, "expires_in": None if seconds is None else timedelta(seconds=seconds)}


def idempotency_key(request: Request) -> str:
    """The key that came with a request, or nothing. Raises InvalidIdempotencyKey."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    idempotency_keys.validate_key(key)
    return str(key)


def request_user(request: Request) -> User:
    """The user whose token or session came with the request."""
    assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
    return request.user
