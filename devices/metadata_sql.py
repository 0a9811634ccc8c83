"""SQL conditions on the metadata of devices."""

import json
import re
from typing import Any

from django.db.models import BooleanField, F, Func, TextField, Value
from django.db.models.lookups import Exact

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?", re.ASCII)
"""Texts that are valid numbers in a JSON path, too."""


def metadata_equals(key: str, value: str) -> Exact[Any]:
    """Return the condition that metadata has this value, as text, under this key."""
    # KeyTextTransform would treat a key of digits as an array index.
    text = Func(
        F("metadata"), Value(key), function="jsonb_extract_path_text", output_field=TextField()
    )
    return Exact(text, Value(value))


def metadata_contains(text: str) -> Func:
    """Return the condition that metadata has this text, number or boolean at any depth."""
    path = f"$.** ? (@ == {json.dumps(text)}"
    if text in ("true", "false") or NUMBER.fullmatch(text):
        path += f" || @ == {text}"
    return Func(
        F("metadata"),
        Value(f"{path})"),
        template="(%(expressions)s::jsonpath)",
        arg_joiner=" @? ",
        output_field=BooleanField(),
    )
