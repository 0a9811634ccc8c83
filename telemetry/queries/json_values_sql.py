"""Which number a payload holds under a key, as SQL: one rule for rollups and for raw series.

It is looked up by the whole key first (`{"gps.lat": 1}`), then by the path the key is when it is
split at its dots (`{"gps": {"lat": 1}}`, `{"list": [5, 6]}`). Numbers count as they are, true and
false as 1 and 0; texts, nulls, lists and objects are no numbers.
"""

PATH = "[A-Za-z0-9_.-]{1,64}"
"""A regular expression, to Python and to PostgreSQL, of keys that can be charted."""


def json_leaf_sql(key: str, path: str) -> str:
    """The JSON in the column `payload` that a key leads to, of SQL for the key and its parts."""
    return f"COALESCE(payload -> {key}, payload #> {path})"


def json_number_sql(leaf: str) -> str:
    """The number that some JSON is, or null; `leaf` is mentioned three times, so give it a name."""
    return f"""CASE jsonb_typeof({leaf})
        WHEN 'number' THEN {leaf}::float8 WHEN 'boolean' THEN {leaf}::boolean::int::float8 END"""
