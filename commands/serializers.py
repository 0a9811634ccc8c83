"""Serializers of commands and their results."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from commands import services as command_services
from commands.models import COMMAND_NAME, Command, CommandType
from common import timestamps
from common.api.fields import JSONObjectField, StrictDateTimeField
from common.api.serializers import StrictSerializer

RESULT_STATUSES = [
    (command_services.Status.EXECUTED.value, "executed"),
    (command_services.Status.FAILED.value, "failed"),
]


class CommandRequestSerializer(StrictSerializer):
    command_name = serializers.RegexField(COMMAND_NAME)
    payload = JSONObjectField(required=False, default=dict)
    expires_in = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=int(command_services.MAX_TTL.total_seconds()),
        help_text="Seconds after which the command expires. The default is that of its type.",
    )


class CommandResultSerializer(StrictSerializer):
    status = serializers.ChoiceField(RESULT_STATUSES)
    executed_at = StrictDateTimeField(required=False)
    result = JSONObjectField(required=False, allow_null=True, default=None)
    reason = serializers.ChoiceField(
        [command_services.Reason.DEVICE, command_services.Reason.REJECTED],
        required=False,
        help_text="Why it failed: the device could not execute it, or rejected it.",
    )

    def validate_executed_at(self, executed_at: datetime) -> datetime:
        if detail := timestamps.range_error(executed_at, now=timezone.now()):
            raise serializers.ValidationError(detail, code="time-out-of-range")
        return executed_at

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["status"] == command_services.Status.EXECUTED and "reason" in attrs:
            detail = "Only a failed command has a reason."
            raise serializers.ValidationError({"reason": [detail]}, code="not-allowed")
        return attrs


class CommandSerializer(serializers.ModelSerializer[Command]):
    payload = JSONObjectField()
    result = JSONObjectField(allow_null=True)
    # Stored values may have any year; Django REST framework formats years before 1000 too short.
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


class CommandTypeSerializer(serializers.ModelSerializer[CommandType]):
    payload_schema = serializers.JSONField()

    class Meta:
        model = CommandType
        fields = ("command_name", "title", "payload_schema", "confirm", "default_expiry")


class CommandTypeListSerializer(serializers.Serializer[Any]):
    results = CommandTypeSerializer(many=True)


class ClaimedCommandsSerializer(serializers.Serializer[Any]):
    results = CommandSerializer(many=True)
