"""Serializers that refuse what they do not know."""

from typing import Any

from rest_framework import serializers

FAULTS_SHOWN = 20
"""A thousand unknown fields are not worth a thousand sentences."""


class StrictSerializer(serializers.Serializer[Any]):
    """An unknown field is a mistake of the sender, never ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self._writable()))):
            raise serializers.ValidationError(
                {name: ["This field is not known here."] for name in unknown[:FAULTS_SHOWN]},
                code="unknown-field",
            )
        return super().to_internal_value(data)

    def _writable(self) -> list[str]:
        return [name for name, field in self.fields.items() if not field.read_only]
