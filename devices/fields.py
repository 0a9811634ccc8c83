"""Fields of serializers for what we read more strictly than the framework."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices import times


@extend_schema_field({"type": "string", "format": "date-time"})
class TimeField(serializers.Field[datetime, str, str, Any]):
    """An RFC 3339 time with an offset."""

    def to_internal_value(self, data: str) -> datetime:
        try:
            return times.parse(data)
        except times.NotATime as error:
            raise serializers.ValidationError(str(error), code="invalid-time") from None

    def to_representation(self, value: datetime) -> str:
        return times.show(value)


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ObjectField(serializers.JSONField):
    """A free JSON object; the domain checks what is in it."""
