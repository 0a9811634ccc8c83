"""Form fields of the values in a payload."""

import json
import math
import re
from abc import ABC, abstractmethod
from datetime import datetime
from fractions import Fraction
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from common import strict_json, timestamps

MISSING: Any = object()
"""The value of an empty field: the payload has no such key."""
MAX_TEXT_LENGTH = 64 * 1024
"""Characters of one field. `commands.services` checks the size of the payload."""
LONG_TEXT = 200
"""Characters. A field that allows more gets several lines."""
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class _SchemaField(forms.Field, ABC):
    """`required` only sets the HTML attribute. The schema validates that the value is present."""

    def __init__(self, *, initial: Any, required: bool, widget: Any, **options: Any) -> None:
        super().__init__(required=False, initial=initial, widget=widget, **options)
        if required:
            self.widget.attrs["required"] = True

    def to_python(self, text: Any) -> Any:
        return MISSING if text in self.empty_values else self.parse(str(text))

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Parse the input. Raises ValidationError."""

    def validate(self, value: Any) -> None:
        pass


class ChoiceField(_SchemaField):
    """A choice of values of any JSON type."""

    def __init__(
        self, choices: list[tuple[Any, str]], default: Any, *, required: bool, **options: Any
    ) -> None:
        # The options are JSON, which distinguishes the number 1 and the text "1".
        self.values = {json.dumps(value): value for value, _name in choices}
        html_choices = [(json.dumps(value), name) for value, name in choices]
        initial = "" if default is MISSING else json.dumps(default)
        if required and len(html_choices) == 1:
            initial = html_choices[0][0]
        elif not (required and initial in self.values):
            html_choices = [("", "\N{EN DASH}"), *html_choices]
        widget = forms.Select(choices=html_choices)
        super().__init__(initial=initial, required=required, widget=widget, **options)

    def parse(self, text: str) -> Any:
        if text not in self.values:
            raise ValidationError(_("Choose one of these."))
        return self.values[text]


class CheckboxField(forms.BooleanField):
    """A required boolean."""

    def __init__(self, default: Any, **options: Any) -> None:
        super().__init__(initial=default is True, required=False, **options)


class NumberField(_SchemaField):
    """A number, with the bounds and the step of its schema."""

    def __init__(self, schema: dict[str, Any], default: Any, **options: Any) -> None:
        widget = forms.NumberInput(attrs={"inputmode": "decimal", **_bounds(schema)})
        initial = default if isinstance(default, int | float) else None
        super().__init__(initial=initial, widget=widget, **options)

    def parse(self, text: str) -> Any:
        text = text.strip()
        if len(text) > 50 or not NUMBER.fullmatch(text):
            raise ValidationError(_("Enter a number."))
        return float(text) if re.search(r"[.eE]", text) else int(text)


class TextField(_SchemaField):
    """A text. An empty field means that the key is missing."""

    def __init__(self, schema: dict[str, Any], default: Any, **options: Any) -> None:
        attrs: dict[str, Any] = {"autocomplete": "off", "maxlength": MAX_TEXT_LENGTH}
        if "minLength" in schema:
            attrs["minlength"] = int(schema["minLength"])
        if "maxLength" in schema:
            attrs["maxlength"] = min(int(schema["maxLength"]), MAX_TEXT_LENGTH)
        input_types = {"date": "date", "email": "email", "uri": "url"}
        input_type = input_types.get(str(schema.get("format")), "text")
        if input_type == "text" and schema.get("maxLength", 0) > LONG_TEXT:
            widget: forms.Widget = forms.Textarea(attrs={**attrs, "rows": 3})
        else:
            widget = forms.TextInput(attrs=attrs)
            widget.input_type = input_type
        super().__init__(
            initial=default if isinstance(default, str) else None, widget=widget, **options
        )

    def parse(self, text: str) -> Any:
        # Browsers send line breaks as two characters.
        return text.replace("\r\n", "\n")


class DateTimeField(_SchemaField):
    """A date and time in the time zone of the user."""

    def __init__(self, default: Any, **options: Any) -> None:
        widget = forms.DateTimeInput(attrs={"step": 1})
        widget.input_type = "datetime-local"
        super().__init__(initial=_to_local_time(default), widget=widget, **options)

    def parse(self, text: str) -> Any:
        try:
            parsed = datetime.fromisoformat(text.strip())
            aware = parsed if parsed.tzinfo else timezone.make_aware(parsed)
            return aware.isoformat()
        except (ValueError, OverflowError):
            raise ValidationError(_("Enter a date and a time, like 2030-01-31 12:00.")) from None


class JSONField(_SchemaField):
    """Any JSON value. Error messages contain the position."""

    def __init__(self, default: Any, **options: Any) -> None:
        initial = "" if default is MISSING else json.dumps(default, ensure_ascii=False, indent=2)
        attrs = {"rows": 3, "spellcheck": "false", "class": "mono", "maxlength": MAX_TEXT_LENGTH}
        widget = forms.Textarea(attrs=attrs)
        super().__init__(initial=initial, required=False, widget=widget, **options)

    def parse(self, text: str) -> Any:
        if not text.strip():
            return MISSING
        if len(text) > MAX_TEXT_LENGTH:
            raise ValidationError(_("At most %(limit)s characters.") % {"limit": MAX_TEXT_LENGTH})
        try:
            return strict_json.decode(text.encode("utf-8", "surrogatepass"))
        except strict_json.JSONSyntaxError as error:
            raise ValidationError(str(error)) from None


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the HTML attributes of a number's bounds. Browsers count steps from the minimum."""
    is_integer = schema.get("type") == "integer"
    step = (
        _to_fraction(schema["multipleOf"])
        if "multipleOf" in schema
        else Fraction(1)
        if is_integer
        else None
    )
    low, high = schema.get("minimum"), schema.get("maximum")
    if step:
        if low is not None:
            low = _to_number(math.ceil(_to_fraction(low) / step) * step)
        elif is_integer and "exclusiveMinimum" in schema:
            low = _to_number(
                (math.floor(_to_fraction(schema["exclusiveMinimum"]) / step) + 1) * step
            )
        if high is None and is_integer and "exclusiveMaximum" in schema:
            high = _to_number(
                (math.ceil(_to_fraction(schema["exclusiveMaximum"]) / step) - 1) * step
            )
    found = {"min": low, "max": high, "step": _to_number(step) if step else "any"}
    return {name: str(value) for name, value in found.items() if value is not None}


def _to_fraction(number: float) -> Fraction:
    return Fraction(repr(number))


def _to_number(number: Fraction) -> float:
    return int(number) if number.denominator == 1 else float(number)


def _to_local_time(default: Any) -> str:
    try:
        parsed = timestamps.parse(default)
    except (timestamps.InvalidTimestamp, TypeError):
        return ""
    return timezone.localtime(parsed).strftime("%Y-%m-%dT%H:%M:%S")
