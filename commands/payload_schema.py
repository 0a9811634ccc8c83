"""JSON Schemas of payloads: which are taken into the catalogue, and what does not fit one.

A schema is data of the staff's, and a payload of any user's: together they must not cost more
than a moment. So a schema is bounded once its references are followed, refers to nothing outside
itself and never in a circle, and its patterns are read by RE2, whose time is linear.
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
"""Schemas inside a schema, each counted as often as it is referred to."""
MESSAGE_LIMIT = 500
BROKEN = "broken-schema"
# What would move the base of references, or judge the same value again and again.
NOT_TAKEN = {
    "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef",
    "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip


class InvalidSchema(ValueError):
    """Not a JSON Schema that can be used here; the message says why."""


def check_schema(schema: Any) -> None:
    """Raises InvalidSchema for what is no JSON Schema of ours."""
    _check_size(schema)
    _check_by_dialect(schema)
    if isinstance(schema, dict) and schema.get("$schema", DIALECT).rstrip("#") != DIALECT:
        raise InvalidSchema(_("Only the dialect %(dialect)s is known.") % {"dialect": DIALECT})
    for count, inner in enumerate(_all(schema), 1):
        if count > SUBSCHEMAS_LIMIT:
            detail = _("More than %(limit)s schemas inside it, references followed.")
            raise InvalidSchema(detail % {"limit": SUBSCHEMAS_LIMIT})
        _check_patterns(inner)


def validation_errors(schema: Any, payload: Any) -> list[JSONError]:
    """Everything in a payload that does not fit, each with its pointer below /payload."""
    try:
        validator = _validator(json.dumps(schema))
    except InvalidSchema:
        # It came into the table on some other way.
        detail = _("The catalogue's schema for this command is broken; staff can mend it.")
        return [JSONError("/payload", BROKEN, detail)]
    # Missing properties come once each, with all of them in the error: told once, where they go.
    found = (fault for error in validator.iter_errors(payload) for fault in _faults_of(error))
    return list(dict.fromkeys(found))


def is_valid_schema(schema: Any) -> bool:
    """Whether `check_schema` lets it through; asked again it costs nothing."""
    try:
        _validator(json.dumps(schema))
    except InvalidSchema:
        return False
    return True


def resolve(schema: Any, root: Any) -> Any:
    """A schema without its own `$ref`: what that names, with what stands beside it."""
    seen = 0
    while isinstance(schema, dict) and "$ref" in schema and seen < SUBSCHEMAS_LIMIT:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        target = _target(schema["$ref"], root)
        if not isinstance(target, dict):
            return target
        schema, seen = {**target, **beside}, seen + 1
    return schema


def re2_matches(pattern: str, text: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    return bool(_compiled(pattern).search(text))


def _check_size(schema: Any) -> None:
    if not isinstance(schema, dict | bool):
        raise InvalidSchema(_("A schema is a JSON object, or true or false."))
    if found := strict_json.validate(schema, leaf_limit=VALUES_LIMIT):
        raise InvalidSchema("; ".join(f"{fault.pointer} {fault.detail}" for fault in found[:5]))
    if len(json.dumps(schema)) > SCHEMA_LIMIT:
        raise InvalidSchema(_("Larger than %(limit)s bytes.") % {"limit": SCHEMA_LIMIT})


def _check_by_dialect(schema: Any) -> None:
    try:
        # Without its own idea of regular expressions: RE2 judges those.
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        raise InvalidSchema(error.message[:MESSAGE_LIMIT]) from None


def _all(root: Any) -> Iterator[Any]:
    """The schema and every one inside it, those behind references once for each of these.

    Raises InvalidSchema for a reference or a keyword that is not taken.
    """

    def walk(schema: Any, way: tuple[str, ...]) -> Iterator[Any]:
        yield schema
        if not isinstance(schema, dict):
            return
        _check_keywords(schema, is_root=schema is root)
        if (ref := schema.get("$ref")) is not None:
            if ref in way:
                raise InvalidSchema(_("A $ref leads in a circle."))
            target = _target(ref, root)
            _check_by_dialect(target)
            yield from walk(target, (*way, ref))
        used = {key: value for key, value in schema.items() if way == () or key != "$defs"}
        for inner in DRAFT202012.subresources_of(used):
            yield from walk(inner, way)

    return walk(root, ())


def _check_keywords(schema: dict[str, Any], *, is_root: bool) -> None:
    refused = NOT_TAKEN if is_root else {*NOT_TAKEN, "$id", "$schema"}
    if found := sorted(refused & schema.keys()):
        raise InvalidSchema(_("%(keyword)s is not taken here.") % {"keyword": ", ".join(found)})


def _check_patterns(schema: Any) -> None:
    if not isinstance(schema, dict):
        return
    own = [schema["pattern"]] if "pattern" in schema else []
    for pattern in [*own, *schema.get("patternProperties", {})]:
        try:
            _compiled(pattern)
        except re2.error as error:
            why = error.args[0].decode() if error.args else ""
            detail = _("The pattern %(pattern)s cannot be used (RE2: %(why)s).")
            raise InvalidSchema(detail % {"pattern": pattern[:100], "why": why[:200]}) from None


def _target(ref: str, root: Any) -> Any:
    if ref != "#" and not ref.startswith("#/"):
        raise InvalidSchema(_("A $ref may only point into the schema itself (#/…)."))
    found = root
    for part in unquote(ref).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isascii() and key.isdigit():
            found = found[int(key)] if len(key) < 6 and int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict | bool):
        raise InvalidSchema(_("A $ref leads nowhere."))
    return found


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
    # As it is written: 0.3 is a multiple of 0.1, which it is not as a double.
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


def _faults_of(error: Any) -> Iterable[JSONError]:
    place = json_pointer("payload", *error.absolute_path)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return [
            JSONError(place + json_pointer(key), "required", _("This is needed."))
            for key in missing
        ]
    return [JSONError(place, str(error.validator), _error_message(error)[:MESSAGE_LIMIT])]


def _error_message(error: Any) -> str:
    limit = error.validator_value
    shown = {"limit": limit if isinstance(limit, str) else json.dumps(limit, ensure_ascii=False)}
    match error.validator:
        case "maximum":
            return _("At most %(limit)s.") % shown
        case "minimum":
            return _("At least %(limit)s.") % shown
        case "exclusiveMaximum":
            return _("Less than %(limit)s.") % shown
        case "exclusiveMinimum":
            return _("More than %(limit)s.") % shown
        case "multipleOf":
            return _("A multiple of %(limit)s.") % shown
        case "minLength":
            return _("At least %(limit)s characters.") % shown
        case "maxLength":
            return _("At most %(limit)s characters.") % shown
        case "pattern":
            return _("It does not match the pattern %(limit)s.") % shown
        case "format":
            return _("This is no %(limit)s.") % shown
        case "enum":
            return _("One of %(limit)s.") % {"limit": shown["limit"].strip("[]")}
        case "const":
            return _("Only %(limit)s.") % shown
        case "additionalProperties":
            return _("This is not known here.")
        case "type":
            names = [limit] if isinstance(limit, str) else limit
            return _("It must be of type %(limit)s.") % {"limit": ", ".join(names)}
    return str(error.message)
