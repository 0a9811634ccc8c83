"""Fields of the admin that are searched for."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError


class SafeAutocompleteSelect(AutocompleteSelect):
    """Django's own, which fails on a made-up id that cannot be one when it shows a form again."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        target = self.field.target_field
        return super().optgroups(name, [one for one in value if can_hold(target, one)], attr)


def can_hold(field: Any, value: Any) -> bool:
    """Whether a field of a model can hold a value that came as text."""
    try:
        field.to_python(value)
    except ValidationError:
        return False
    return True
