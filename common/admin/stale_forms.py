"""Forms that do not overwrite values which changed after the page was opened."""

import json
from typing import Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _

M = TypeVar("M", bound=Model)


class UnchangedForm(forms.ModelForm[M]):
    """A form that saves nothing if a stored value changed after the form was opened.

    The form contains the values that it was opened with; its page renders `form.opened_with`.
    Clean it within the transaction that saves it.
    """

    opened_with = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["opened_with"] = json.dumps(self._values(self.instance))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        manager = type(self.instance)._default_manager
        # The lock is held until the form is saved.
        stored = manager.select_for_update(no_key=True).filter(pk=self.instance.pk).first()
        if stored is None or self._is_closed(stored):
            raise ValidationError(
                _("This entry has been deleted. Nothing was saved."), code="stale"
            )
        if changed := self._changed_since(values.get("opened_with", ""), stored):
            message = _(
                "Changed since you opened this page: %(fields)s. Nothing was saved. Reload "
                "the page and repeat your change."
            )
            raise ValidationError(message % {"fields": ", ".join(changed)}, code="stale")
        return values

    def _is_closed(self, stored: M) -> bool:
        """Return whether the row still exists but must not be changed any more."""
        return False

    def _changed_since(self, opened_with: str, stored: M) -> list[str]:
        """Return the labels of the fields that have other values now."""
        try:
            then = json.loads(opened_with)
        except ValueError:
            then = {}
        now = self._values(stored)
        same = then if isinstance(then, dict) else {}
        return [str(self.fields[name].label) for name in now if now[name] != same.get(name)]

    def _values(self, row: M) -> dict[str, Any]:
        """Return the stored values of the fields of this form, as text."""
        values: dict[str, Any] = {}
        for field in row._meta.fields:
            if field.name in self.fields:
                values[field.name] = str(field.value_from_object(row))
        for many in row._meta.many_to_many:
            if many.name in self.fields:
                rows = getattr(row, many.name).all() if row.pk else ()
                values[many.name] = sorted(str(related.pk) for related in rows)
        return values
