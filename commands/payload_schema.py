"""JSON Schemas of payloads: validation of schemas, and of payloads against them.

Staff write schemas and any user sends payloads, so the time of a validation must be bounded. The
size of a schema is limited with its references resolved. References must point into the schema and
must not be circular. RE2 evaluates the patterns, in linear time.
"""

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import re2
from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing.jsonschema import DRAFT202012

from common import strict_json, timestamps
from common.strict_json import JSONError, json_pointer

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_LIMIT = 32 * 1024
"""Bytes."""
VALUES_LIMIT = 2000
SUBSCHEMAS_LIMIT = 300
"""Subschemas of a schema, each counted once for every reference to it."""
MESSAGE_LIMIT = 500
BROKEN = "broken-schema"
# Keywords that change the base of references, or that validate the same value repeatedly.
UNSUPPORTED_KEYWORDS = {
    "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef",
    "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip


class InvalidSchema(ValueError):
    """The schema is invalid or uses unsupported features; the message says which."""


def check_schema(schema: Any) -> None:
    """Raise InvalidSchema if the schema is invalid or not supported."""
    _check_size(schema)
    _check_by_dialect(schema)
    if isinstance(schema, dict) and schema.get("$schema", DIALECT).rstrip("#") != DIALECT:
        raise InvalidSchema(_("Only the dialect %(dialect)s is supported.") % {"dialect": DIALECT})
    for count, subschema in enumerate(_iter_subschemas(schema), 1):
        if count > SUBSCHEMAS_LIMIT:
            detail = _("More than %(limit)s subschemas, including referenced ones.")
            raise InvalidSchema(detail % {"limit": SUBSCHEMAS_LIMIT})
        _check_patterns(subschema)


def validation_errors(schema: Any, payload: Any) -> list[JSONError]:
    """Return all errors of a payload, each with its pointer below /payload."""
    try:
        validator = _validator(json.dumps(schema))
    except InvalidSchema:
        # The admin form would have rejected it: it was written to the table in another way.
        detail = _("The schema of this command type is invalid. An administrator can fix it.")
        return [JSONError("/payload", BROKEN, detail)]
    # jsonschema yields one error per missing property, each of which lists all: drop duplicates.
    errors = (item for error in validator.iter_errors(payload) for item in _to_json_errors(error))
    return list(dict.fromkeys(errors))


def is_valid_schema(schema: Any) -> bool:
    """Return whether `check_schema` accepts the schema. The result is cached."""
    try:
        _validator(json.dumps(schema))
    except InvalidSchema:
        return False
    return True


def resolve(schema: Any, root: Any) -> Any:
    """Return the schema with its `$ref` replaced by the target. Sibling keywords are kept."""
    count = 0
    while isinstance(schema, dict) and "$ref" in schema and count < SUBSCHEMAS_LIMIT:
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        target = _target(schema["$ref"], root)
        if not isinstance(target, dict):
            return target
        schema, count = {**target, **siblings}, count + 1
    return schema


def re2_matches(pattern: str, text: str) -> bool:
    """Return whether the pattern matches anywhere in the text."""
    return bool(_compiled(pattern).search(text))


def _check_size(schema: Any) -> None:
    if not isinstance(schema, dict | bool):
        raise InvalidSchema(_("A schema must be a JSON object, true or false."))
    if errors := strict_json.validate(schema, leaf_limit=VALUES_LIMIT):
        raise InvalidSchema("; ".join(f"{fault.pointer} {fault.detail}" for fault in errors[:5]))
    if len(json.dumps(schema)) > SCHEMA_LIMIT:
        raise InvalidSchema(_("Larger than %(limit)s bytes.") % {"limit": SCHEMA_LIMIT})


def _check_by_dialect(schema: Any) -> None:
    try:
        # Without the format check of regular expressions: RE2 checks them.
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        raise InvalidSchema(error.message[:MESSAGE_LIMIT]) from None


def _iter_subschemas(root: Any) -> Iterator[Any]:
    """Yield the schema and all its subschemas. Targets of references are yielded per reference.

    Raises InvalidSchema for an invalid reference or an unsupported keyword.
    """

    def walk(schema: Any, refs: tuple[str, ...]) -> Iterator[Any]:
        yield schema
        if not isinstance(schema, dict):
            return
        _check_keywords(schema, is_root=schema is root)
        if (ref := schema.get("$ref")) is not None:
            if ref in refs:
                raise InvalidSchema(_("A $ref is circular."))
            target = _target(ref, root)
            _check_by_dialect(target)
            yield from walk(target, (*refs, ref))
        used = {key: value for key, value in schema.items() if refs == () or key != "$defs"}
        for subschema in DRAFT202012.subresources_of(used):
            yield from walk(subschema, refs)

    return walk(root, ())


def _check_keywords(schema: dict[str, Any], *, is_root: bool) -> None:
    unsupported = UNSUPPORTED_KEYWORDS if is_root else {*UNSUPPORTED_KEYWORDS, "$id", "$schema"}
    if found := sorted(unsupported & schema.keys()):
        raise InvalidSchema(_("%(keyword)s is not supported.") % {"keyword": ", ".join(found)})


def _check_patterns(schema: Any) -> None:
    if not isinstance(schema, dict):
        return
    own = [schema["pattern"]] if "pattern" in schema else []
    for pattern in [*own, *schema.get("patternProperties", {})]:
        try:
            _compiled(pattern)
        except re2.error as error:
            reason = error.args[0].decode() if error.args else ""
            detail = _("The pattern %(pattern)s is not valid (RE2: %(why)s).")
            raise InvalidSchema(detail % {"pattern": pattern[:100], "why": reason[:200]}) from None


def _target(ref: str, root: Any) -> Any:
    if ref != "#" and not ref.startswith("#/"):
        raise InvalidSchema(_("A $ref can only point into the same schema (#/…)."))
    target = root
    for part in unquote(ref).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and key.isascii() and key.isdigit():
            target = target[int(key)] if len(key) < 6 and int(key) < len(target) else None
        else:
            target = target.get(key) if isinstance(target, dict) else None
    if not isinstance(target, dict | bool):
        raise InvalidSchema(_("A $ref points to nothing."))
    return target


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


@lru_cache(maxsize=512)
def _validator(schema: str) -> Any:
    loaded = json.loads(schema)
    check_schema(loaded)
    return Validator(loaded, format_checker=FORMATS)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not re2_matches(pattern, instance):
        yield ValidationError("")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, inner in patterns.items():
            for key, value in instance.items():
                if re2_matches(pattern, key):
                    yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    for key, value in instance.items():
        if key in schema.get("properties", {}) or any(re2_matches(one, key) for one in patterns):
            continue
        if isinstance(allowed, dict):
            yield from validator.descend(value, allowed, path=key)
        elif not allowed:
            yield ValidationError("", path=[key])


def _multiple_of(validator: Any, unit: Any, instance: Any, schema: Any) -> Iterator[Any]:
    # Exact decimals: 0.3 is a multiple of 0.1, but the remainder of the doubles is not 0.
    if not validator.is_type(instance, "number"):
        return
    if (Fraction(repr(instance)) / Fraction(repr(unit))).denominator != 1:
        yield ValidationError("")


Validator = extend(
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "multipleOf": _multiple_of,
    },
)


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(timestamps.parse(value))


FORMATS = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))
FORMATS.checks("date-time", raises=timestamps.InvalidTimestamp)(_is_time)


def _to_json_errors(error: Any) -> Iterable[JSONError]:
    pointer = json_pointer("payload", *error.absolute_path)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return [
            JSONError(pointer + json_pointer(key), "required", _("This field is required."))
            for key in missing
        ]
    return [JSONError(pointer, str(error.validator), _error_message(error)[:MESSAGE_LIMIT])]


def _error_message(error: Any) -> str:
    limit = error.validator_value
    params = {"limit": limit if isinstance(limit, str) else json.dumps(limit, ensure_ascii=False)}
    match error.validator:
        case "maximum":
            return _("Must be at most %(limit)s.") % params
        case "minimum":
            return _("Must be at least %(limit)s.") % params
        case "exclusiveMaximum":
            return _("Must be less than %(limit)s.") % params
        case "exclusiveMinimum":
            return _("Must be greater than %(limit)s.") % params
        case "multipleOf":
            return _("Must be a multiple of %(limit)s.") % params
        case "minLength":
            return _("At least %(limit)s characters.") % params
        case "maxLength":
            return _("At most %(limit)s characters.") % params
        case "pattern":
            return _("Does not match the pattern %(limit)s.") % params
        case "format":
            return _("Not a valid %(limit)s.") % params
        case "enum":
            return _("Must be one of %(limit)s.") % {"limit": params["limit"].strip("[]")}
        case "const":
            return _("Must be %(limit)s.") % params
        case "additionalProperties":
            return _("Unknown field.")
        case "type":
            names = [limit] if isinstance(limit, str) else limit
            return _("Must be of type %(limit)s.") % {"limit": ", ".join(names)}
    return str(error.message)
