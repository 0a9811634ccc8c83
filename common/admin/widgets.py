"""Autocomplete fields of the admin."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError


class SafeAutocompleteSelect(AutocompleteSelect):
    """Ignores invalid ids when a form is rendered again, where Django's class raises an error."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        target = self.field.target_field
        return super().optgroups(name, [pk for pk in value if is_valid_value(target, pk)], attr)


def is_valid_value(field: Any, value: Any) -> bool:
    """Return whether a model field accepts a value that came as text."""
    try:
        field.to_python(value)
    except ValidationError:
        return False
    return True
