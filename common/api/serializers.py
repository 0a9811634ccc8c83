"""Serializers that refuse what they do not know."""

from typing import Any

from rest_framework import serializers

MAX_ERRORS = 20
"""A thousand unknown fields are not worth a thousand sentences."""

Field = serializers.Field[Any, Any, Any, Any]
TYPES: list[tuple[type[Field], tuple[type, ...], str]] = [
    (serializers.CharField, (str,), "a text"),
    (serializers.UUIDField, (str,), "a text"),
    (serializers.IntegerField, (int, float), "a number"),
]
"""What a kind of field is in JSON, where the framework would take something else for it, too."""


class StrictSerializer(serializers.Serializer[Any]):
    """An unknown field is a mistake of the sender, never ignored; so is a number for a text."""

    is_text = False
    """Whether all values come as text, as those of a query do."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self._writable()))):
            raise serializers.ValidationError(
                {name: ["This field is not known here."] for name in unknown[:MAX_ERRORS]},
                code="unknown-field",
            )
        if isinstance(data, dict) and not self.is_text and (wrong := self._of_other_type(data)):
            raise serializers.ValidationError(wrong, code="invalid")
        return super().to_internal_value(data)

    def _writable(self) -> list[str]:
        return [name for name, field in self.fields.items() if not field.read_only]

    def _of_other_type(self, data: dict[str, Any]) -> dict[str, list[str]]:
        return {
            name: [f"Must be {wanted}."]
            for name, field in self.fields.items()
            if (wanted := _type_error(field, data.get(name)))
        }


class StrictQuerySerializer(StrictSerializer):
    """The same of a query, in which what is given and empty is a mistake, too: the framework would
    take it for not given, and answer with a whole history instead of a part of it.
    """

    is_text = True

    def to_internal_value(self, data: Any) -> Any:
        blank = {
            name: ["This may not be empty."]
            for name, field in self.fields.items()
            if data.get(name) == "" and field.default != ""
        }
        if blank:
            raise serializers.ValidationError(blank, code="blank")
        return super().to_internal_value(data)


def _type_error(field: Field, value: Any) -> str:
    """What a value should be and is not; nothing where the field itself sees to it."""
    if value is None:
        return ""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        return next(filter(None, (_type_error(field.child, item) for item in value)), "")
    for kind, types, name in TYPES:
        if isinstance(field, kind) and (isinstance(value, bool) or not isinstance(value, types)):
            return name
    return ""
