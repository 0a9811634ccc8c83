"""A form made of a JSON Schema: what people type becomes a payload, and what does not fit is told
at its field.

Objects with known properties become groups of fields; numbers, choices, booleans and texts one
field each; everything else a piece of JSON. The schema itself judges what comes of it, so that
whatever the form does not know about (`if`, `dependentRequired`, …) holds all the same. Nothing
here touches the database.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Union
from urllib.parse import quote

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from commands import payload_schema
from common import strict_json, timestamps
from common.strict_json import JSONError, json_pointer

MISSING: Any = object()
"""What an empty field stands for: the payload has no such key."""
ROOT = "payload"
LONGEST_TEXT = 64 * 1024
"""Characters of one field; how large a payload may be, the domain says."""
LONG_TEXT = 200
"""Characters; where more are allowed there is room for several lines."""
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class FieldNode:
    """One field, and where in the payload its value goes."""

    at: str
    key: str
    field: forms.Field
    required: bool

    @property
    def name(self) -> str:
        """What the field is called in the form: like its pointer, fit for an attribute."""
        return quote(self.at.removeprefix("/"), safe="/~!$*.:@-_")


@dataclass(frozen=True)
class ObjectNode:
    """An object and the fields of its properties."""

    at: str
    key: str
    title: str
    description: str
    required: bool
    items: list[Union["ObjectNode", FieldNode]]


Node = ObjectNode | FieldNode


class PayloadForm(forms.Form):
    """What a schema asks for, as a form. When valid, `payload` satisfies the schema."""

    def __init__(self, schema: Any, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.schema = schema
        self.root = build_tree(schema)
        self.leaves = {leaf.at: leaf for leaf in leaves(self.root)}
        for leaf in self.leaves.values():
            self.fields[leaf.name] = leaf.field

    def clean(self) -> dict[str, Any]:
        if not any(leaf.name in self.errors for leaf in self.leaves.values()):
            self.payload = assemble_payload(self.root, self.cleaned_data)
            for fault in self.judge(self.payload):
                self.add_fault(fault)
        return self.cleaned_data

    def judge(self, payload: Any) -> list[JSONError]:
        """Everything that is wrong with a payload."""
        limit = settings.PAYLOAD_LIMIT
        return strict_json.validate_object(
            payload, limit=limit, at=f"/{ROOT}"
        ) or payload_schema.validation_errors(self.schema, payload)

    def add_fault(self, fault: JSONError) -> None:
        """Tell a fault at the field it is in; at the top of the form where there is none."""
        at = fault.pointer
        while at and at not in self.leaves:
            at = at.rpartition("/")[0]
        inside = fault.pointer.removeprefix(at)
        field = self.leaves[at].name if at else None
        if inside and inside != f"/{ROOT}":
            place = {"place": inside, "detail": fault.detail}
            self.add_error(field, _("At %(place)s: %(detail)s") % place)
        else:
            self.add_error(field, fault.detail)

    @property
    def tree(self) -> dict[str, Any]:
        """The fields as they are shown, groups inside groups."""
        return self._shown(self.root)

    def _shown(self, node: Node) -> dict[str, Any]:
        if isinstance(node, FieldNode):
            return {
                "field": self[node.name],
                "optional": not node.required and node is not self.root,
            }
        return {"group": node, "items": [self._shown(item) for item in node.items]}


def build_tree(schema: Any) -> Node:
    """The fields of a schema that `schemas.check_schema` has let through."""
    return _node(schema, schema, at=f"/{ROOT}", key=ROOT, required=True, sure=True)


def leaves(node: Node) -> Iterator[FieldNode]:
    """Every field below a node."""
    if isinstance(node, FieldNode):
        yield node
    else:
        for item in node.items:
            yield from leaves(item)


def assemble_payload(root: Node, cleaned: dict[str, Any]) -> Any:
    """The payload that the values of the fields make."""
    found = _assembled(root, cleaned)
    return {} if found is MISSING else found


def _assembled(node: Node, cleaned: dict[str, Any]) -> Any:
    if isinstance(node, FieldNode):
        return cleaned[node.name]
    values = {item.key: _assembled(item, cleaned) for item in node.items}
    given = {key: value for key, value in values.items() if value is not MISSING}
    # An object that nobody has to give and nobody has filled in.
    return given if given or node.required else MISSING


def _node(schema: Any, root: Any, *, at: str, key: str, required: bool, sure: bool) -> Node:
    schema = payload_schema.resolve(schema, root)
    known = schema if isinstance(schema, dict) else {}
    properties = known.get("properties", {})
    if known.get("type", "object") != "object" or not _is_described(known):
        return FieldNode(at, key, _field(known, key, required=required, sure=sure), required)
    needed = known.get("required", [])
    items = [
        _node(
            inner,
            root,
            at=at + json_pointer(name),
            key=name,
            required=name in needed,
            sure=sure and required,
        )
        # The database does not keep the order of keys: what must be filled in comes first.
        for name, inner in sorted(properties.items(), key=lambda item: item[0] not in needed)
        if inner is not False
    ]
    title, description = str(known.get("title", key)), str(known.get("description", ""))
    return ObjectNode(at, key, title, description, required, items)


def _is_described(schema: dict[str, Any]) -> bool:
    """Whether an object's properties are all that somebody needs to fill in."""
    if {"const", "enum"} & schema.keys():
        return False
    properties = schema.get("properties", {})
    if not set(schema.get("required", [])) <= set(properties):
        return False
    return bool(properties) or schema.get("additionalProperties") is False


def _field(schema: dict[str, Any], key: str, *, required: bool, sure: bool) -> forms.Field:
    shown = {
        "label": str(schema.get("title", key if key != ROOT else _("Payload"))),
        "help_text": str(schema.get("description", "")),
    }
    default = schema.get("default", MISSING)
    if choices := _choices(schema):
        return ChoiceField(choices, default, required=required and sure, **shown)
    match schema.get("type"):
        case "boolean" if required and sure:
            return CheckboxField(default, **shown)
        case "boolean":
            choices = [(True, _("Yes")), (False, _("No"))]
            return ChoiceField(choices, default, required=False, **shown)
        case "integer" | "number":
            return NumberField(schema, default, required=required and sure, **shown)
        case "string" if schema.get("format") == "date-time":
            return TimeField(default, required=required and sure, **shown)
        case "string":
            return TextField(schema, default, required=required and sure, **shown)
    return JSONField({} if key == ROOT and default is MISSING else default, **shown)


def _choices(schema: dict[str, Any]) -> list[tuple[Any, str]]:
    """The values that are all there is to choose from, with their names."""
    if "const" in schema:
        return [(schema["const"], _name(schema["const"]))]
    if "enum" in schema:
        return [(value, _name(value)) for value in schema["enum"]]
    for keyword in ("oneOf", "anyOf"):
        inner = schema.get(keyword, [])
        if inner and all(isinstance(one, dict) and "const" in one for one in inner):
            return [(one["const"], str(one.get("title", _name(one["const"])))) for one in inner]
    return []


def _name(value: Any) -> str:
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


class _SchemaField(forms.Field, ABC):
    """Required or not is the schema's to judge; `required` only tells people beforehand."""

    def __init__(self, *, initial: Any, required: bool, widget: Any, **shown: Any) -> None:
        super().__init__(required=False, initial=initial, widget=widget, **shown)
        if required:
            self.widget.attrs["required"] = True

    def to_python(self, text: Any) -> Any:
        return MISSING if text in self.empty_values else self.read(str(text))

    @abstractmethod
    def read(self, text: str) -> Any:
        """The value that somebody typed. Raises ValidationError."""

    def validate(self, value: Any) -> None:
        pass


class ChoiceField(_SchemaField):
    """One of some values of any kind."""

    def __init__(
        self, choices: list[tuple[Any, str]], default: Any, *, required: bool, **shown: Any
    ) -> None:
        # As JSON, in which the number 1 and the text "1" are two.
        self.values = {json.dumps(value): value for value, _name in choices}
        options = [(json.dumps(value), name) for value, name in choices]
        initial = "" if default is MISSING else json.dumps(default)
        if required and len(options) == 1:
            initial = options[0][0]
        elif not (required and initial in self.values):
            options = [("", "\N{EN DASH}"), *options]
        widget = forms.Select(choices=options)
        super().__init__(initial=initial, required=required, widget=widget, **shown)

    def read(self, text: str) -> Any:
        if text not in self.values:
            raise ValidationError(_("Choose one of these."))
        return self.values[text]


class CheckboxField(forms.BooleanField):
    """Yes or no, where one of them must be said."""

    def __init__(self, default: Any, **shown: Any) -> None:
        super().__init__(initial=default is True, required=False, **shown)


class NumberField(_SchemaField):
    """A number, with the bounds and the steps of its schema."""

    def __init__(self, schema: dict[str, Any], default: Any, **how: Any) -> None:
        widget = forms.NumberInput(attrs={"inputmode": "decimal", **_bounds(schema)})
        initial = default if isinstance(default, int | float) else None
        super().__init__(initial=initial, widget=widget, **how)

    def read(self, text: str) -> Any:
        text = text.strip()
        if len(text) > 50 or not NUMBER.fullmatch(text):
            raise ValidationError(_("Enter a number."))
        return float(text) if re.search(r"[.eE]", text) else int(text)


class TextField(_SchemaField):
    """A text; what is left empty is not given."""

    def __init__(self, schema: dict[str, Any], default: Any, **how: Any) -> None:
        attrs: dict[str, Any] = {"autocomplete": "off", "maxlength": LONGEST_TEXT}
        if "minLength" in schema:
            attrs["minlength"] = int(schema["minLength"])
        if "maxLength" in schema:
            attrs["maxlength"] = min(int(schema["maxLength"]), LONGEST_TEXT)
        kinds = {"date": "date", "email": "email", "uri": "url"}
        kind = kinds.get(str(schema.get("format")), "text")
        if kind == "text" and schema.get("maxLength", 0) > LONG_TEXT:
            widget: forms.Widget = forms.Textarea(attrs={**attrs, "rows": 3})
        else:
            widget = forms.TextInput(attrs=attrs)
            widget.input_type = kind
        super().__init__(
            initial=default if isinstance(default, str) else None, widget=widget, **how
        )

    def read(self, text: str) -> Any:
        # Browsers send the ends of lines as two characters.
        return text.replace("\r\n", "\n")


class TimeField(_SchemaField):
    """An instant, typed in the time zone of whoever types it."""

    def __init__(self, default: Any, **how: Any) -> None:
        widget = forms.DateTimeInput(attrs={"step": 1})
        widget.input_type = "datetime-local"
        super().__init__(initial=_local(default), widget=widget, **how)

    def read(self, text: str) -> Any:
        try:
            moment = datetime.fromisoformat(text.strip())
            aware = moment if moment.tzinfo else timezone.make_aware(moment)
            return aware.isoformat()
        except (ValueError, OverflowError):
            raise ValidationError(_("Enter a date and a time, like 2030-01-31 12:00.")) from None


class JSONField(_SchemaField):
    """JSON as it is typed; the place of a fault in it is told."""

    def __init__(self, default: Any, **shown: Any) -> None:
        initial = "" if default is MISSING else json.dumps(default, ensure_ascii=False, indent=2)
        attrs = {"rows": 3, "spellcheck": "false", "class": "mono", "maxlength": LONGEST_TEXT}
        widget = forms.Textarea(attrs=attrs)
        super().__init__(initial=initial, required=False, widget=widget, **shown)

    def read(self, text: str) -> Any:
        if not text.strip():
            return MISSING
        if len(text) > LONGEST_TEXT:
            raise ValidationError(_("At most %(limit)s characters.") % {"limit": LONGEST_TEXT})
        try:
            return strict_json.decode(text.encode("utf-8", "surrogatepass"))
        except strict_json.JSONSyntaxError as error:
            raise ValidationError(str(error)) from None


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """What a browser can know of the bounds of a number; it counts its steps from the lowest."""
    whole = schema.get("type") == "integer"
    step = (
        _exact(schema["multipleOf"]) if "multipleOf" in schema else Fraction(1) if whole else None
    )
    low, high = schema.get("minimum"), schema.get("maximum")
    if step:
        if low is not None:
            low = _plain(math.ceil(_exact(low) / step) * step)
        elif whole and "exclusiveMinimum" in schema:
            low = _plain((math.floor(_exact(schema["exclusiveMinimum"]) / step) + 1) * step)
        if high is None and whole and "exclusiveMaximum" in schema:
            high = _plain((math.ceil(_exact(schema["exclusiveMaximum"]) / step) - 1) * step)
    found = {"min": low, "max": high, "step": _plain(step) if step else "any"}
    return {name: str(value) for name, value in found.items() if value is not None}


def _exact(number: float) -> Fraction:
    return Fraction(repr(number))


def _plain(number: Fraction) -> float:
    return int(number) if number.denominator == 1 else float(number)


def _local(default: Any) -> str:
    try:
        moment = timestamps.parse(default)
    except (timestamps.InvalidTimestamp, TypeError):
        return ""
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M:%S")
