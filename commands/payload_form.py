"""A form that is generated from a JSON Schema. Its input becomes a payload, and each error appears
at its field.

An object with known properties becomes a group of fields. A number, choice, boolean or text
becomes one field. Everything else becomes a JSON field. The schema validates the payload, so that
keywords that the form ignores (`if`, `dependentRequired`, …) apply, too. Nothing here uses the
database.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union
from urllib.parse import quote

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _

from commands import payload_schema
from commands.payload_fields import (
    MISSING,
    CheckboxField,
    ChoiceField,
    DateTimeField,
    JSONField,
    NumberField,
    TextField,
)
from common import strict_json
from common.strict_json import JSONError, json_pointer

ROOT = "payload"


@dataclass(frozen=True)
class FieldNode:
    """One field, and the position of its value in the payload."""

    pointer: str
    key: str
    field: forms.Field
    required: bool

    @property
    def name(self) -> str:
        """The name of the field in the form: its pointer, quoted for an HTML attribute."""
        return quote(self.pointer.removeprefix("/"), safe="/~!$*.:@-_")


@dataclass(frozen=True)
class ObjectNode:
    """An object with the nodes of its properties."""

    pointer: str
    key: str
    title: str
    description: str
    required: bool
    items: list[Union["ObjectNode", FieldNode]]


Node = ObjectNode | FieldNode


class PayloadForm(forms.Form):
    """The form of a schema. If it is valid, `payload` is valid against the schema."""

    def __init__(self, schema: Any, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.schema = schema
        self.root = build_tree(schema)
        self.leaves = {leaf.pointer: leaf for leaf in leaves(self.root)}
        for leaf in self.leaves.values():
            self.fields[leaf.name] = leaf.field

    def clean(self) -> dict[str, Any]:
        if not any(leaf.name in self.errors for leaf in self.leaves.values()):
            self.payload = assemble_payload(self.root, self.cleaned_data)
            for fault in self.validate_payload(self.payload):
                self.add_fault(fault)
        return self.cleaned_data

    def validate_payload(self, payload: Any) -> list[JSONError]:
        """Return all errors of a payload."""
        limit = settings.PAYLOAD_LIMIT
        return strict_json.validate_object(
            payload, limit=limit, at=f"/{ROOT}"
        ) or payload_schema.validation_errors(self.schema, payload)

    def add_fault(self, fault: JSONError) -> None:
        """Add an error to its field, or to the whole form if no field contains it."""
        pointer = fault.pointer
        while pointer and pointer not in self.leaves:
            pointer = pointer.rpartition("/")[0]
        rest = fault.pointer.removeprefix(pointer)
        field = self.leaves[pointer].name if pointer else None
        if rest and rest != f"/{ROOT}":
            params = {"place": rest, "detail": fault.detail}
            self.add_error(field, _("At %(place)s: %(detail)s") % params)
        else:
            self.add_error(field, fault.detail)

    @property
    def tree(self) -> dict[str, Any]:
        """The fields in nested groups, for the template."""
        return self._to_context(self.root)

    def _to_context(self, node: Node) -> dict[str, Any]:
        if isinstance(node, FieldNode):
            return {
                "field": self[node.name],
                "optional": not node.required and node is not self.root,
            }
        return {"group": node, "items": [self._to_context(item) for item in node.items]}


def build_tree(schema: Any) -> Node:
    """Return the fields of a schema that `payload_schema.check_schema` has accepted."""
    return _node(schema, schema, pointer=f"/{ROOT}", key=ROOT, required=True, parents_required=True)


def leaves(node: Node) -> Iterator[FieldNode]:
    """Yield all fields below a node."""
    if isinstance(node, FieldNode):
        yield node
    else:
        for item in node.items:
            yield from leaves(item)


def assemble_payload(root: Node, cleaned: dict[str, Any]) -> Any:
    """Return the payload with the values of the fields."""
    payload = _assemble(root, cleaned)
    return {} if payload is MISSING else payload


def _assemble(node: Node, cleaned: dict[str, Any]) -> Any:
    if isinstance(node, FieldNode):
        return cleaned[node.name]
    values = {item.key: _assemble(item, cleaned) for item in node.items}
    present = {key: value for key, value in values.items() if value is not MISSING}
    # An optional object without values is missing.
    return present if present or node.required else MISSING


def _node(
    schema: Any, root: Any, *, pointer: str, key: str, required: bool, parents_required: bool
) -> Node:
    schema = payload_schema.resolve(schema, root)
    definition = schema if isinstance(schema, dict) else {}
    properties = definition.get("properties", {})
    if definition.get("type", "object") != "object" or not _is_described(definition):
        return FieldNode(
            pointer,
            key,
            _field(definition, key, required=required, parents_required=parents_required),
            required,
        )
    required_keys = definition.get("required", [])
    items = [
        _node(
            inner,
            root,
            pointer=pointer + json_pointer(name),
            key=name,
            required=name in required_keys,
            parents_required=parents_required and required,
        )
        # Required fields first. jsonb does not keep the order of keys.
        for name, inner in sorted(properties.items(), key=lambda item: item[0] not in required_keys)
        if inner is not False
    ]
    title, description = str(definition.get("title", key)), str(definition.get("description", ""))
    return ObjectNode(pointer, key, title, description, required, items)


def _is_described(schema: dict[str, Any]) -> bool:
    """Return whether fields for the properties can express any such object."""
    if {"const", "enum"} & schema.keys():
        return False
    properties = schema.get("properties", {})
    if not set(schema.get("required", [])) <= set(properties):
        return False
    return bool(properties) or schema.get("additionalProperties") is False


def _field(
    schema: dict[str, Any], key: str, *, required: bool, parents_required: bool
) -> forms.Field:
    options = {
        "label": str(schema.get("title", key if key != ROOT else _("Payload"))),
        "help_text": str(schema.get("description", "")),
    }
    default = schema.get("default", MISSING)
    if choices := _choices(schema):
        return ChoiceField(choices, default, required=required and parents_required, **options)
    match schema.get("type"):
        case "boolean" if required and parents_required:
            return CheckboxField(default, **options)
        case "boolean":
            choices = [(True, _("Yes")), (False, _("No"))]
            return ChoiceField(choices, default, required=False, **options)
        case "integer" | "number":
            return NumberField(schema, default, required=required and parents_required, **options)
        case "string" if schema.get("format") == "date-time":
            return DateTimeField(default, required=required and parents_required, **options)
        case "string":
            return TextField(schema, default, required=required and parents_required, **options)
    return JSONField({} if key == ROOT and default is MISSING else default, **options)


def _choices(schema: dict[str, Any]) -> list[tuple[Any, str]]:
    """Return the allowed values with their names, if the schema lists them."""
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
