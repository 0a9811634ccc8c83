"""Fields of the admin that are searched for."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError


class CheckedAutocomplete(AutocompleteSelect):
    """Django's own, which fails on a made-up id that cannot be one when it shows a form again."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [one for one in value if self._can_be_one(one)], attr)

    def _can_be_one(self, value: Any) -> bool:
        try:
            self.field.target_field.to_python(value)
        except ValidationError:
            return False
        return True
