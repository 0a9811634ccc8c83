"""One command to many devices, for programs."""

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
    CommandAnswer,
    CommandBody,
    command_kwargs,
    idempotency_key,
    request_user,
    serialize_commands,
)
from commands.batches import services as batches
from commands.models import Command, CommandBatch
from common.api.fields import JSONObjectField
from common.api.parsers import JSONParser
from common.api.serializers import StrictSerializer
from devices.models import METADATA_KEYS_LIMIT, Device


class BatchParser(JSONParser):
    """A body that lists as many devices as a batch may have, beside its payload."""

    leaf_limit = 2 * batches.DEVICES_LIMIT


class MetadataField(serializers.DictField):
    """What is stored under these keys, as text."""

    child = serializers.CharField(allow_blank=True, max_length=200)

    def to_internal_value(self, data: Any) -> Any:
        keys = list(data) if isinstance(data, dict) else []
        if len(keys) > METADATA_KEYS_LIMIT or any("\0" in key or len(key) > 64 for key in keys):
            detail = f"At most {METADATA_KEYS_LIMIT} keys of 1 to 64 characters."
            raise serializers.ValidationError(detail)
        return super().to_internal_value(data)


class FilterBody(StrictSerializer):
    status = serializers.ChoiceField(Device.Status.choices, required=False)
    device_type = serializers.CharField(max_length=64, required=False)
    search = serializers.CharField(
        max_length=200, required=False, help_text="A part of the name, in any case."
    )
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Say what to look for.")
        return attrs


class CommandBatchBody(CommandBody):
    """To these devices, or to all that have what the filter says."""

    devices = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        max_length=batches.DEVICES_LIMIT,
    )
    filter = FilterBody(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("devices" in attrs) == ("filter" in attrs):
            raise serializers.ValidationError("Either devices or a filter.")
        return attrs


class RefusalAnswer(serializers.Serializer[Any]):
    device_id = serializers.UUIDField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = serializers.ListField(  # type: ignore[assignment]
        child=serializers.DictField(child=serializers.CharField())
    )


class ProgressAnswer(serializers.Serializer[batches.Progress]):
    asked = serializers.IntegerField()
    refused = serializers.IntegerField()
    pending = serializers.IntegerField()
    delivered = serializers.IntegerField(help_text="Of the pending ones.")
    executed = serializers.IntegerField()
    failed = serializers.IntegerField()


class CommandBatchAnswer(serializers.ModelSerializer[CommandBatch]):
    payload = JSONObjectField()
    refused = RefusalAnswer(many=True)
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

    def get_progress(self, batch: CommandBatch) -> ProgressAnswer:
        """Devices, counted by how far their commands are."""
        return ProgressAnswer(  # type: ignore[return-value]
            batches.progress(batch, now=timezone.now())
        ).data


class CommandBatchSummary(serializers.ModelSerializer[CommandBatch]):
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


class BatchList(GenericAPIView[CommandBatch]):
    """The batches that the user has sent, newest first."""

    serializer_class = CommandBatchSummary
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
        request=CommandBatchBody, responses={201: CommandBatchAnswer}, parameters=[IDEMPOTENCY_KEY]
    )
    def post(self, request: Request) -> Response:
        body = CommandBatchBody(data=request.data)
        body.is_valid(raise_exception=True)
        asked = command_kwargs(body)
        ids, wanted = asked.pop("devices", None), asked.pop("filter", {})
        devices, unknown = select_devices(request_user(request), ids=ids, wanted=wanted)
        batch = batches.issue(
            devices,
            unknown=unknown,
            wanted=wanted,
            issued_by=request_user(request),
            now=timezone.now(),
            idempotency_key=idempotency_key(request),
            **asked,
        )
        return Response(CommandBatchAnswer(batch).data, status=status.HTTP_201_CREATED)


class BatchDetail(APIView):
    """One batch: how far it is, and which devices it was refused for."""

    @extend_schema(responses=CommandBatchAnswer)
    def get(self, request: Request, batch_id: UUID) -> Response:
        return Response(CommandBatchAnswer(get_own_batch(request, batch_id)).data)


class BatchCommands(GenericAPIView[Command]):
    """The commands of one batch, one for each device that took it."""

    serializer_class = CommandAnswer

    def get_queryset(self) -> QuerySet[Command]:
        visible = Device.objects.visible_to(request_user(self.request))
        return get_own_batch(self.request, self.kwargs["batch_id"]).commands.filter(
            device__in=visible
        )

    @extend_schema(operation_id="command_batches_commands_list")
    def get(self, request: Request, batch_id: UUID) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(serialize_commands(page, timezone.now()))


class BatchCancel(APIView):
    """Take back every command of a batch that is still pending."""

    @extend_schema(request=None, responses=CommandBatchAnswer)
    def post(self, request: Request, batch_id: UUID) -> Response:
        batch = get_own_batch(request, batch_id)
        batches.cancel(batch, now=timezone.now())
        return Response(CommandBatchAnswer(batch).data)


def get_own_batch(request: Request, batch_id: UUID) -> CommandBatch:
    """A batch that the user has sent. Raises CommandBatch.DoesNotExist."""
    return CommandBatch.objects.get(pk=batch_id, issued_by=request_user(request))


def select_devices(
    user: User, *, ids: list[UUID] | None, wanted: dict[str, Any]
) -> tuple[list[Device], list[UUID]]:
    """The user's devices with these ids, or those wanted; and the ids that are none of theirs.

    One more than a batch may have is enough to know that there are too many.
    """
    visible = Device.objects.visible_to(user).order_by("name", "pk")
    if ids is None:
        found = visible.having(timezone.now(), **wanted)
        return list(found[: batches.DEVICES_LIMIT + 1]), []
    devices = list(visible.filter(pk__in=ids))
    known = {device.pk for device in devices}
    return devices, sorted(set(ids) - known)
