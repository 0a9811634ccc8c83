"""Serializer fields that are stricter than those of Django REST framework."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common import timestamps


@extend_schema_field({"type": "string", "format": "date-time"})
class StrictDateTimeField(serializers.Field[datetime, str, str, Any]):
    """An RFC 3339 time with an offset."""

    def to_internal_value(self, data: str) -> datetime:
        try:
            return timestamps.parse(data)
        except timestamps.InvalidTimestamp as error:
            raise serializers.ValidationError(str(error), code="invalid-time") from None

    def to_representation(self, value: datetime) -> str:
        return timestamps.format_timestamp(value)


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONObjectField(serializers.JSONField):
    """A JSON object with any keys. The services validate its contents."""
