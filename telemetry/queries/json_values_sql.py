"""SQL that reads the number under a key of a payload; rollups and raw series use the same rule.

The whole key is looked up first (`{"gps.lat": 1}`), then the path that results from splitting it at
the dots (`{"gps": {"lat": 1}}`, `{"list": [5, 6]}`). Numbers are used as they are, true and false
count as 1 and 0. Strings, nulls, arrays and objects are not numbers.
"""

PATH = "[A-Za-z0-9_.-]{1,64}"
"""Regular expression, for Python and PostgreSQL, of keys that can be charted."""


def json_leaf_sql(key: str, path: str) -> str:
    """Return SQL for the value of a key in `payload`; `path` is SQL for the parts of the key."""
    return f"COALESCE(payload -> {key}, payload #> {path})"


def json_number_sql(leaf: str) -> str:
    """Return SQL for a JSON value as a number, or null.

    `leaf` occurs three times in the result, so pass a column name.
    """
    return f"""CASE jsonb_typeof({leaf})
        WHEN 'number' THEN {leaf}::float8 WHEN 'boolean' THEN {leaf}::boolean::int::float8 END"""
