"""API of commands: users send them, devices fetch them and report results."""

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
from commands.models import Command
from commands.serializers import (
    ClaimedCommandsSerializer,
    CommandRequestSerializer,
    CommandResultSerializer,
    CommandSerializer,
    CommandTypeListSerializer,
    CommandTypeSerializer,
)
from common.api import idempotency_keys
from devices import presence
from devices.authentication import IsDevice, get_accessible_device, request_device
from devices.models import Device, DeviceToken

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="A repeated request with the same key creates no second command.",
)
MAX_WAIT_SECONDS = 30.0
WAIT_PATTERN = re.compile(r"[0-9]{1,2}(\.[0-9]{1,20})?", re.ASCII)
LIMIT_PATTERN = re.compile(r"[1-9][0-9]?", re.ASCII)


class CommandListView(GenericAPIView[Command]):
    """The commands of one device, newest first."""

    serializer_class = CommandSerializer

    def get_queryset(self) -> QuerySet[Command]:
        return get_accessible_device(self.request, self.kwargs["device_id"]).commands.all()

    @extend_schema(operation_id="devices_commands_list")
    def get(self, request: Request, device_id: UUID) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(serialize_commands(page, timezone.now()))

    @extend_schema(
        request=CommandRequestSerializer,
        responses={201: CommandSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        serializer = CommandRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        command = command_services.create_command(
            device,
            issued_by=request_user(request),
            now=timezone.now(),
            idempotency_key=idempotency_key(request),
            **command_kwargs(serializer),
        )
        return Response(CommandSerializer(command).data, status=status.HTTP_201_CREATED)


class CommandDetailView(APIView):
    """One command. Its device reports the result."""

    permission_classes = (IsAuthenticatedUser | IsDevice,)

    @extend_schema(responses=CommandSerializer)
    def get(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        command = get_accessible_device(request, device_id).commands.get(pk=command_id)
        return Response(CommandSerializer(command.as_of(timezone.now())).data)

    @extend_schema(request=CommandResultSerializer, responses=CommandSerializer)
    def patch(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        return record_result_response(
            request, get_accessible_device(request, device_id), command_id
        )


class CommandCancelView(APIView):
    """Cancel a pending command."""

    @extend_schema(request=None, responses=CommandSerializer)
    def post(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        command = get_accessible_device(request, device_id).commands.get(pk=command_id)
        return Response(
            CommandSerializer(command_services.cancel(command, now=timezone.now())).data
        )


class CommandRetryView(APIView):
    """Resend a command that has ended: create a new one that refers to it."""

    @extend_schema(request=None, responses={201: CommandSerializer}, parameters=[IDEMPOTENCY_KEY])
    def post(self, request: Request, device_id: UUID, command_id: UUID) -> Response:
        command = command_services.resend(
            get_accessible_device(request, device_id).commands.get(pk=command_id),
            issued_by=request_user(request),
            now=timezone.now(),
            idempotency_key=idempotency_key(request),
        )
        return Response(CommandSerializer(command).data, status=status.HTTP_201_CREATED)


class CommandTypeListView(APIView):
    """The command types of a device. If it has none, it accepts any command and payload."""

    @extend_schema(operation_id="devices_command_types_list", responses=CommandTypeListSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        command_types = catalogue.for_device(get_accessible_device(request, device_id))
        return Response({"results": CommandTypeSerializer(command_types, many=True).data})


class ClaimCommandsView(APIView):
    """Claim the pending commands of the device whose token is sent, oldest first."""

    permission_classes = (IsDevice,)
    # Without HEAD, which would claim commands and return none.
    http_method_names = ("get", "options")

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "wait",
                {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS},
                description="Seconds to wait for a command, 0 to 30. Only at the `live_url` of "
                "`GET /device`; other URLs respond at once.",
            ),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": command_services.CLAIM_LIMIT},
                description="Maximum number of commands.",
            ),
        ],
        responses={200: ClaimedCommandsSerializer, 204: None},
    )
    def get(self, request: Request) -> Response:
        now = timezone.now()
        device = request_device(request)
        presence.mark_seen(device, now=now)
        limit = parse_limit(request.query_params)
        # Validated here, too, although this process does not wait.
        parse_wait(request.query_params)
        claimed = command_services.claim(device, now=now, limit=limit)
        if not claimed:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response({"results": serialize_commands(claimed, now)})


class CommandResultView(APIView):
    """Report the result of a command as its device."""

    permission_classes = (IsDevice,)

    @extend_schema(request=CommandResultSerializer, responses=CommandSerializer)
    def patch(self, request: Request, command_id: UUID) -> Response:
        return record_result_response(request, request_device(request), command_id)


def parse_limit(query: QueryDict) -> int:
    """Return the maximum number of commands to claim: `limit`, from 1 to CLAIM_LIMIT."""
    text = query.get("limit") or str(command_services.CLAIM_LIMIT)
    if not LIMIT_PATTERN.fullmatch(text) or int(text) > command_services.CLAIM_LIMIT:
        detail = f"From 1 to {command_services.CLAIM_LIMIT}."
        raise serializers.ValidationError({"limit": [detail]}, code="invalid")
    return int(text)


def parse_wait(query: QueryDict) -> float:
    """Return the seconds to wait for a command: `wait`, from 0 to MAX_WAIT_SECONDS."""
    text = query.get("wait", "0")
    if not WAIT_PATTERN.fullmatch(text) or float(text) > MAX_WAIT_SECONDS:
        detail = f"From 0 to {MAX_WAIT_SECONDS:.0f} seconds."
        raise serializers.ValidationError({"wait": [detail]}, code="invalid")
    return float(text)


def record_result_response(request: Request, device: Device, command_id: UUID) -> Response:
    """Store the result in the request's body and return the response."""
    now = timezone.now()
    command = device.commands.get(pk=command_id)
    serializer = CommandResultSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    if isinstance(request.auth, DeviceToken):
        presence.mark_seen(device, now=now)
    return Response(
        CommandSerializer(
            command_services.record_result(command, now=now, **serializer.validated_data)
        ).data
    )


def serialize_commands(commands: list[Command], now: datetime) -> list[dict[str, Any]]:
    """Serialize commands with their status at `now`."""
    return list(CommandSerializer([command.as_of(now) for command in commands], many=True).data)


def command_kwargs(serializer: CommandRequestSerializer) -> dict[str, Any]:
    """Return the keyword arguments of `create_command` from a valid body."""
    kwargs = dict(serializer.validated_data)
    seconds = kwargs.pop("expires_in", None)
    return {**kwargs, "expires_in": None if seconds is None else timedelta(seconds=seconds)}


def idempotency_key(request: Request) -> str:
    """Return the idempotency key of a request, or "". Raises InvalidIdempotencyKey."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    idempotency_keys.validate_key(key)
    return str(key)


def request_user(request: Request) -> User:
    """Return the user whose token or session authenticated the request."""
    assert isinstance(request.user, User)  # noqa: S101 - checked by IsAuthenticatedUser
    return request.user
