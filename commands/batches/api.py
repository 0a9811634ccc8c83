"""API of batches: one command to several devices."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from commands.api import (
    IDEMPOTENCY_KEY,
    command_kwargs,
    idempotency_key,
    request_user,
    serialize_commands,
)
from commands.batches import services as batches
from commands.models import Command, CommandBatch
from commands.serializers import CommandRequestSerializer, CommandSerializer
from common.api.fields import JSONObjectField
from common.api.parsers import JSONParser
from common.api.serializers import StrictSerializer
from devices.models import METADATA_KEYS_LIMIT, Device


class BatchParser(JSONParser):
    """Allows as many values as a batch may have devices, in addition to its payload."""

    leaf_limit = 2 * batches.DEVICES_LIMIT


class MetadataField(serializers.DictField):
    """Metadata keys with the values to search for, as text."""

    child = serializers.CharField(allow_blank=True, max_length=200)

    def to_internal_value(self, data: Any) -> Any:
        keys = list(data) if isinstance(data, dict) else []
        if len(keys) > METADATA_KEYS_LIMIT or any("\0" in key or len(key) > 64 for key in keys):
            detail = f"At most {METADATA_KEYS_LIMIT} keys of 1 to 64 characters."
            raise serializers.ValidationError(detail)
        return super().to_internal_value(data)


class DeviceFilterRequestSerializer(StrictSerializer):
    status = serializers.ChoiceField(Device.Status.choices, required=False)
    device_type = serializers.CharField(max_length=64, required=False)
    search = serializers.CharField(
        max_length=200, required=False, help_text="A part of the name, case-insensitive."
    )
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("A filter needs at least one field.")
        return attrs


class CommandBatchRequestSerializer(CommandRequestSerializer):
    """A command, with its devices or a filter that selects them."""

    devices = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        max_length=batches.DEVICES_LIMIT,
    )
    filter = DeviceFilterRequestSerializer(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("devices" in attrs) == ("filter" in attrs):
            raise serializers.ValidationError("Send either devices or a filter.")
        return attrs


class RejectedDeviceSerializer(serializers.Serializer[Any]):
    device_id = serializers.UUIDField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = serializers.ListField(  # type: ignore[assignment]
        child=serializers.DictField(child=serializers.CharField())
    )


class BatchProgressSerializer(serializers.Serializer[batches.Progress]):
    asked = serializers.IntegerField()
    refused = serializers.IntegerField()
    pending = serializers.IntegerField()
    delivered = serializers.IntegerField(help_text="The pending ones that were delivered.")
    executed = serializers.IntegerField()
    failed = serializers.IntegerField()


class CommandBatchSerializer(serializers.ModelSerializer[CommandBatch]):
    payload = JSONObjectField()
    refused = RejectedDeviceSerializer(many=True)
    progress = serializers.SerializerMethodField()

    class Meta:
        model = CommandBatch
        fields = (
            "id",
            "command_name",
            "payload",
            "created_at",
            "expires_at",
            "cancelled_at",
            "progress",
            "refused",
        )

    def get_progress(self, batch: CommandBatch) -> BatchProgressSerializer:
        """The number of devices by the status of their commands."""
        return BatchProgressSerializer(  # type: ignore[return-value]
            batches.progress(batch, now=timezone.now())
        ).data


class CommandBatchSummarySerializer(serializers.ModelSerializer[CommandBatch]):
    payload = JSONObjectField()

    class Meta:
        model = CommandBatch
        fields = (
            "id",
            "command_name",
            "payload",
            "asked",
            "created_at",
            "expires_at",
            "cancelled_at",
        )


class CommandBatchListView(GenericAPIView[CommandBatch]):
    """The batches of the user, newest first."""

    serializer_class = CommandBatchSummarySerializer
    parser_classes = (BatchParser,)

    def get_queryset(self) -> QuerySet[CommandBatch]:
        user = self.request.user
        own = CommandBatch.objects.defer("refused")
        return own.filter(issued_by=user) if isinstance(user, User) else own.none()

    @extend_schema(operation_id="command_batches_list")
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=CommandBatchRequestSerializer,
        responses={201: CommandBatchSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        serializer = CommandBatchRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        kwargs = command_kwargs(serializer)
        ids, filters = kwargs.pop("devices", None), kwargs.pop("filter", {})
        devices, unknown = select_devices(request_user(request), ids=ids, filters=filters)
        batch = batches.create_batch(
            devices,
            unknown=unknown,
            filters=filters,
            issued_by=request_user(request),
            now=timezone.now(),
            idempotency_key=idempotency_key(request),
            **kwargs,
        )
        return Response(CommandBatchSerializer(batch).data, status=status.HTTP_201_CREATED)


class CommandBatchDetailView(APIView):
    """One batch: its progress, and the devices it was rejected for."""

    @extend_schema(responses=CommandBatchSerializer)
    def get(self, request: Request, batch_id: UUID) -> Response:
        return Response(CommandBatchSerializer(get_own_batch(request, batch_id)).data)


class CommandBatchCommandListView(GenericAPIView[Command]):
    """The commands of one batch, one for each device that accepted it."""

    serializer_class = CommandSerializer

    def get_queryset(self) -> QuerySet[Command]:
        visible = Device.objects.visible_to(request_user(self.request))
        return get_own_batch(self.request, self.kwargs["batch_id"]).commands.filter(
            device__in=visible
        )

    @extend_schema(operation_id="command_batches_commands_list")
    def get(self, request: Request, batch_id: UUID) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(serialize_commands(page, timezone.now()))


class CommandBatchCancelView(APIView):
    """Cancel all pending commands of a batch."""

    @extend_schema(request=None, responses=CommandBatchSerializer)
    def post(self, request: Request, batch_id: UUID) -> Response:
        batch = get_own_batch(request, batch_id)
        batches.cancel(batch, now=timezone.now())
        return Response(CommandBatchSerializer(batch).data)


def get_own_batch(request: Request, batch_id: UUID) -> CommandBatch:
    """Return a batch of the user. Raises CommandBatch.DoesNotExist."""
    return CommandBatch.objects.get(pk=batch_id, issued_by=request_user(request))


def select_devices(
    user: User, *, ids: list[UUID] | None, filters: dict[str, Any]
) -> tuple[list[Device], list[UUID]]:
    """Return the user's devices with these ids or filters, and the ids that are not their devices.

    Returns at most one device more than the limit of a batch, which then raises TooManyDevices.
    """
    visible = Device.objects.visible_to(user).order_by("name", "pk")
    if ids is None:
        found = visible.filter_by(timezone.now(), **filters)
        return list(found[: batches.DEVICES_LIMIT + 1]), []
    devices = list(visible.filter(pk__in=ids))
    known = {device.pk for device in devices}
    return devices, sorted(set(ids) - known)
