"""Serializers that reject unknown fields and values of another type."""

from typing import Any

from rest_framework import serializers

MAX_ERRORS = 20
"""Unknown fields that one response names."""

Field = serializers.Field[Any, Any, Any, Any]
JSON_TYPES: list[tuple[type[Field], tuple[type, ...], str]] = [
    (serializers.CharField, (str,), "a string"),
    (serializers.UUIDField, (str,), "a string"),
    (serializers.IntegerField, (int, float), "a number"),
]
"""The JSON types of fields for which Django REST framework accepts other types, too."""


class StrictSerializer(serializers.Serializer[Any]):
    """Rejects unknown fields and, for example, a number in place of a text."""

    values_are_strings = False
    """Whether all values are text, as in a query string."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self._writable_names()))):
            raise serializers.ValidationError(
                {name: ["Unknown field."] for name in unknown[:MAX_ERRORS]},
                code="unknown-field",
            )
        if (
            isinstance(data, dict)
            and not self.values_are_strings
            and (wrong := self._type_errors(data))
        ):
            raise serializers.ValidationError(wrong, code="invalid")
        return super().to_internal_value(data)

    def _writable_names(self) -> list[str]:
        return [name for name, field in self.fields.items() if not field.read_only]

    def _type_errors(self, data: dict[str, Any]) -> dict[str, list[str]]:
        return {
            name: [f"Must be {expected}."]
            for name, field in self.fields.items()
            if (expected := _type_error(field, data.get(name)))
        }


class StrictQuerySerializer(StrictSerializer):
    """Also rejects empty values. Django REST framework would treat an empty value as missing and,
    for example, respond with the whole history instead of a part of it.
    """

    values_are_strings = True

    def to_internal_value(self, data: Any) -> Any:
        blank = {
            name: ["Must not be empty."]
            for name, field in self.fields.items()
            if data.get(name) == "" and field.default != ""
        }
        if blank:
            raise serializers.ValidationError(blank, code="blank")
        return super().to_internal_value(data)


def _type_error(field: Field, value: Any) -> str:
    """Return the expected type if the value has another one; "" if the field validates it."""
    if value is None:
        return ""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        return next(filter(None, (_type_error(field.child, item) for item in value)), "")
    for field_class, types, name in JSON_TYPES:
        if isinstance(field, field_class) and (
            isinstance(value, bool) or not isinstance(value, types)
        ):
            return name
    return ""
